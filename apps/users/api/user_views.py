"""/api/v3/users: oneself and one's sessions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.actor import Actor
from apps.core.api.views import ListView, View
from apps.core.errors import InvalidInput, NotFound
from apps.users.api import examples
from apps.users.api.serializers import MeInput, MeOutput, SessionOutput
from apps.users.choices import RevocationReason
from apps.users.models import Membership, Organization, User, UserSession
from apps.users.services.accounts import change_profile
from apps.users.services.sessions import revoke_session

MYSELF = "me"


def parse_user_id(text: str, actor: Actor) -> UUID:
    """Return the user that a path names; `me` is the caller's own. Raise NotFound for what is no id."""
    if text == MYSELF and actor.user_id is not None:
        return actor.user_id
    try:
        return User.parse_id(text)
    except InvalidInput as error:
        raise NotFound() from error


class MeView(View):
    scopes = {"GET": "users:read", "PATCH": "users:write"}
    roles = {"GET": "none", "PATCH": "none"}

    @extend_schema(
        summary="The caller",
        description="Who the credential stands for, where it acts and what it may do.",
        responses={200: MeOutput},
        examples=[examples.answered(examples.ME)],
    )
    def get(self, request: Request) -> Response:
        return self._answer(request.user)

    @extend_schema(
        summary="Change the caller",
        request=MeInput,
        responses={200: MeOutput},
        examples=[examples.asked({"name": "Ada Lovelace"}), examples.answered(examples.ME)],
    )
    def patch(self, request: Request) -> Response:
        serializer = MeInput(data=request.data)
        serializer.is_valid(raise_exception=True)
        changes: dict[str, Any] = dict(serializer.validated_data)
        if (named := changes.pop("default_organization_id", None)) is not None:
            wanted = Organization.objects.visible_to(self.actor).active().filter(id=Organization.parse_id(named))
            changes["default_organization"] = wanted.first()
            if changes["default_organization"] is None:
                raise NotFound()
        user: Any = request.user
        return self._answer(change_profile(user=user, actor=self.actor, **changes))

    def _answer(self, user: Any) -> Response:
        memberships = Membership.objects.filter(user=user).select_related("organization").order_by("id")
        return Response(MeOutput(user, context={"actor": self.actor, "memberships": list(memberships)}).data)


class SessionListView(ListView):
    scopes = {"GET": "users:read"}
    roles = {"GET": "none"}
    serializer_class = SessionOutput
    queryset = UserSession.objects.none()

    def get_serializer_context(self) -> dict[str, Any]:
        """Tell the serializer which session the request came with."""
        credential = getattr(self.request._request, "credential", None)
        return {**super().get_serializer_context(), "current_id": credential.id if credential else None}

    @extend_schema(
        summary="List sessions",
        description="Where you are logged in: browsers and programs. `me` stands for your own id; those of others are 404.",
        responses={200: SessionOutput(many=True)},
        examples=[examples.answered(examples.SESSION)],
    )
    def get(self, request: Request, user_id: str) -> Response:
        return self.page(request, own_sessions(self.actor, user_id))


class SessionDetailView(View):
    scopes = {"DELETE": "users:write"}
    roles = {"DELETE": "none"}

    @extend_schema(
        summary="End a session",
        description="Its cookie or tokens refuse from the next request on.",
        responses={204: None},
    )
    def delete(self, request: Request, user_id: str, session_id: str) -> Response:
        try:
            wanted = UserSession.parse_id(session_id)
        except InvalidInput as error:
            raise NotFound() from error
        session = own_sessions(self.actor, user_id).filter(id=wanted).first()
        if session is None:
            raise NotFound()
        revoke_session(session=session, reason=RevocationReason.REVOKED, actor=self.actor)
        return Response(status=204)


def own_sessions(actor: Actor, user_id: str) -> QuerySet[Any]:
    """Return the live sessions of the named user as far as the actor sees them. Raise NotFound for other people."""
    wanted = parse_user_id(user_id, actor)
    if wanted != actor.user_id:
        raise NotFound()
    return UserSession.objects.visible_to(actor).live().filter(user_id=wanted)
