"""/api/v3/users/{id}/api-keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.actor import Actor
from apps.core.api.views import ListView, View
from apps.core.errors import InvalidInput, NotFound
from apps.events.api.idempotency import idempotent
from apps.users.api import examples
from apps.users.api.serializers import (
    ApiKeyChangeInput,
    ApiKeyInput,
    ApiKeyOutput,
    ApiKeySecretOutput,
    RotateInput,
)
from apps.users.api.team_views import find_team
from apps.users.api.user_views import parse_user_id
from apps.users.choices import Role
from apps.users.models import ApiKey, Organization, User
from apps.users.services.api_keys import KeyTerms, issue_api_key, revoke_api_key, rotate_api_key, update_api_key


def keys_of(actor: Actor, user_id: str) -> QuerySet[Any]:
    """Return a member's keys in the actor's organization, as far as the actor sees them. Raise NotFound for no member."""
    wanted = parse_user_id(user_id, actor)
    is_own = wanted == actor.user_id
    if not is_own and actor.role not in {Role.OWNER, Role.ADMIN}:
        raise NotFound()
    if not User.objects.visible_to(actor).filter(id=wanted).exists():
        raise NotFound()
    found: QuerySet[Any] = ApiKey.objects.visible_to(actor).filter(user_id=wanted)
    return found.select_related("user", "organization", "team")


def find_key_of(actor: Actor, user_id: str, key_id: str) -> ApiKey:
    """Return one key. Raise NotFound also for what the actor does not see."""
    try:
        wanted = ApiKey.parse_id(key_id)
    except InvalidInput as error:
        raise NotFound() from error
    key: ApiKey | None = keys_of(actor, user_id).filter(id=wanted).first()
    if key is None:
        raise NotFound()
    return key


def with_team(actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return terms with the team that `team_id` names. Raise NotFound for one that the actor does not see."""
    terms = dict(given)
    if "team_id" in terms:
        named = terms.pop("team_id")
        terms["team"] = find_team(actor, named) if named else None
    return terms


class KeyListView(ListView):
    scopes = {"GET": "keys:read", "POST": "keys:write"}
    serializer_class = ApiKeyOutput
    queryset = ApiKey.objects.none()

    @extend_schema(
        summary="List API keys",
        description="Keys of a member in your organization, without secrets. `me` stands for your own id; administrators "
        "may name other members.",
        responses={200: ApiKeyOutput(many=True)},
        examples=[examples.answered(examples.KEY)],
    )
    def get(self, request: Request, user_id: str) -> Response:
        return self.page(request, keys_of(self.actor, user_id))

    @extend_schema(
        summary="Create an API key",
        description="The secret is in the answer and nowhere else. A key never has more than the credential that makes "
        "it, and acts as its user, so you can only make your own.",
        request=ApiKeyInput,
        responses={201: ApiKeySecretOutput},
        examples=[
            examples.asked({"name": "Nightly summaries", "scopes": ["gateway:use"], "requests_per_minute": 60}),
            examples.answered({**examples.KEY, "secret": "pk_live_…"}, status="201"),
        ],
    )
    @idempotent
    def post(self, request: Request, user_id: str) -> Response:
        serializer = ApiKeyInput(data=request.data)
        serializer.is_valid(raise_exception=True)
        terms = with_team(self.actor, serializer.validated_data)
        user = User.objects.visible_to(self.actor).filter(id=parse_user_id(user_id, self.actor)).first()
        if user is None:
            raise NotFound()
        here: Any = self.actor.organization_id
        key, secret = issue_api_key(
            user=user,
            organization=Organization.objects.visible_to(self.actor).get(id=here),
            name=terms.pop("name"),
            terms=KeyTerms(**terms),
            actor=self.actor,
        )
        return Response(ApiKeySecretOutput(key, context={"secret": secret}).data, status=201)


class KeyDetailView(View):
    scopes = {"PATCH": "keys:write", "DELETE": "keys:write"}
    # Everybody may stop a key of their own.
    roles = {"DELETE": "viewer"}

    @extend_schema(
        summary="Change an API key",
        request=ApiKeyChangeInput,
        responses={200: ApiKeyOutput},
        examples=[examples.asked({"requests_per_minute": 120}), examples.answered(examples.KEY)],
    )
    def patch(self, request: Request, user_id: str, key_id: str) -> Response:
        serializer = ApiKeyChangeInput(data=request.data)
        serializer.is_valid(raise_exception=True)
        key = find_key_of(self.actor, user_id, key_id)
        changed = update_api_key(key=key, actor=self.actor, **with_team(self.actor, serializer.validated_data))
        return Response(ApiKeyOutput(changed).data)

    @extend_schema(
        summary="Revoke an API key", description="It refuses from the next request on.", responses={204: None}
    )
    def delete(self, request: Request, user_id: str, key_id: str) -> Response:
        revoke_api_key(key=find_key_of(self.actor, user_id, key_id), actor=self.actor)
        return Response(status=204)


class KeyRotationView(View):
    scopes = {"POST": "keys:write"}

    @extend_schema(
        summary="Rotate an API key",
        description="Gives the key a new secret. The present one still opens for `overlap_seconds`, so that programs can "
        "be moved over; a secret from an earlier rotation stops at once.",
        request=RotateInput,
        responses={200: ApiKeySecretOutput},
        examples=[
            examples.asked({"overlap_seconds": 3600}),
            examples.answered({**examples.KEY, "secret": "pk_live_…"}),
        ],
    )
    @idempotent
    def post(self, request: Request, user_id: str, key_id: str) -> Response:
        serializer = RotateInput(data=request.data)
        serializer.is_valid(raise_exception=True)
        key = find_key_of(self.actor, user_id, key_id)
        overlap = timedelta(seconds=serializer.validated_data["overlap_seconds"])
        rotated, secret = rotate_api_key(key=key, overlap=overlap, actor=self.actor)
        return Response(ApiKeySecretOutput(rotated, context={"secret": secret}).data)
