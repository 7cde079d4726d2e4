"""/api/v3/teams."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.actor import Actor
from apps.core.api.views import ListView, View
from apps.core.errors import InvalidInput, NotFound
from apps.events.api.idempotency import idempotent
from apps.users.api import examples
from apps.users.api.serializers import TeamChangeInput, TeamInput, TeamMemberInput, TeamMemberOutput, TeamOutput
from apps.users.api.user_views import parse_user_id
from apps.users.models import Organization, Team, TeamMembership, User
from apps.users.services.teams import change_team, create_team, delete_team, remove_team_member, save_team_member

TEAM_EXAMPLE = examples.answered(examples.TEAM)
ADMINISTERED = {"POST": "admin", "PATCH": "admin", "DELETE": "admin"}


def find_team(actor: Actor, team_id: str) -> Team:
    """Return a team of the actor's organization. Raise NotFound also for what the actor does not see."""
    try:
        wanted = Team.parse_id(team_id)
    except InvalidInput as error:
        raise NotFound() from error
    team: Team | None = (
        Team.objects.visible_to(actor).select_related("organization", "parent").filter(id=wanted).first()
    )
    if team is None:
        raise NotFound()
    return team


def with_parent(actor: Actor, given: dict[str, Any]) -> dict[str, Any]:
    """Return what was given with the team that `parent_id` names."""
    fields = dict(given)
    if "parent_id" in fields:
        named = fields.pop("parent_id")
        fields["parent"] = find_team(actor, named) if named else None
    return fields


def find_person(actor: Actor, user_id: str) -> User:
    """Return a person of the actor's organization. Raise NotFound for others."""
    person: User | None = User.objects.visible_to(actor).filter(id=parse_user_id(user_id, actor)).first()
    if person is None:
        raise NotFound()
    return person


class TeamListView(ListView):
    scopes = {"GET": "users:read", "POST": "users:write"}
    roles = ADMINISTERED
    serializer_class = TeamOutput
    queryset = Team.objects.none()

    @extend_schema(
        summary="List teams",
        description="The teams of your organization.",
        responses={200: TeamOutput(many=True)},
        examples=[TEAM_EXAMPLE],
    )
    def get(self, request: Request) -> Response:
        return self.page(request, Team.objects.visible_to(self.actor).select_related("organization", "parent"))

    @extend_schema(
        summary="Create a team",
        description="Within another team where `parent_id` names one, at most five deep: what binds the outer team "
        "(limits, budgets) binds it too.",
        request=TeamInput,
        responses={201: TeamOutput},
        examples=[
            examples.asked({"name": "Research", "parent_id": None}),
            examples.answered(examples.TEAM, status="201"),
        ],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        serializer = TeamInput(data=request.data)
        serializer.is_valid(raise_exception=True)
        here: Any = self.actor.organization_id
        organization = Organization.objects.visible_to(self.actor).get(id=here)
        fields = with_parent(self.actor, serializer.validated_data)
        team = create_team(organization=organization, actor=self.actor, **fields)
        return Response(TeamOutput(team).data, status=201)


class TeamDetailView(View):
    scopes = {"GET": "users:read", "PATCH": "users:write", "DELETE": "users:write"}
    roles = ADMINISTERED

    @extend_schema(summary="Get a team", responses={200: TeamOutput}, examples=[TEAM_EXAMPLE])
    def get(self, request: Request, team_id: str) -> Response:
        return Response(TeamOutput(find_team(self.actor, team_id)).data)

    @extend_schema(
        summary="Change a team",
        description='`"is_active": false` suspends it and the teams within it: their keys open nothing.',
        request=TeamChangeInput,
        responses={200: TeamOutput},
        examples=[examples.asked({"name": "Research and teaching"}), TEAM_EXAMPLE],
    )
    def patch(self, request: Request, team_id: str) -> Response:
        serializer = TeamChangeInput(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = with_parent(self.actor, serializer.validated_data)
        changed = change_team(team=find_team(self.actor, team_id), actor=self.actor, **fields)
        return Response(TeamOutput(changed).data)

    @extend_schema(
        summary="Delete a team",
        description="Its keys and people count for no team from then on. A team that others lie within stays.",
        responses={204: None},
    )
    def delete(self, request: Request, team_id: str) -> Response:
        delete_team(team=find_team(self.actor, team_id), actor=self.actor)
        return Response(status=204)


class TeamMemberListView(ListView):
    scopes = {"GET": "users:read"}
    serializer_class = TeamMemberOutput
    queryset = TeamMembership.objects.none()

    @extend_schema(
        summary="List the members of a team",
        responses={200: TeamMemberOutput(many=True)},
        examples=[examples.answered(examples.TEAM_MEMBER)],
    )
    def get(self, request: Request, team_id: str) -> Response:
        team = find_team(self.actor, team_id)
        return self.page(request, TeamMembership.objects.filter(team=team).select_related("user"))


class TeamMemberView(View):
    """Administrators of the team or of the organization choose; everybody may leave."""

    scopes = {"PUT": "users:write", "DELETE": "users:write"}
    roles = {"DELETE": "viewer"}

    @extend_schema(
        summary="Add a member to a team, or change their role",
        description="For administrators of the team or of the organization.",
        request=TeamMemberInput,
        responses={200: TeamMemberOutput},
        examples=[examples.asked({"role": "member"}), examples.answered(examples.TEAM_MEMBER)],
    )
    def put(self, request: Request, team_id: str, user_id: str) -> Response:
        serializer = TeamMemberInput(data=request.data)
        serializer.is_valid(raise_exception=True)
        team, person = find_team(self.actor, team_id), find_person(self.actor, user_id)
        membership = save_team_member(team=team, user=person, role=serializer.validated_data["role"], actor=self.actor)
        return Response(TeamMemberOutput(membership).data)

    @extend_schema(
        summary="Remove a member from a team",
        description="Keys of theirs that counted for the team count for none. `me` leaves it.",
        responses={204: None},
    )
    def delete(self, request: Request, team_id: str, user_id: str) -> Response:
        team, person = find_team(self.actor, team_id), find_person(self.actor, user_id)
        remove_team_member(team=team, user=person, actor=self.actor)
        return Response(status=204)
