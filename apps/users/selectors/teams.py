"""Which team something counts for, and which teams lie around that one."""

from __future__ import annotations

from uuid import UUID

from apps.users.models import Membership, Team

MAX_DEPTH = 5
"""How many teams may lie within one another; a path is read in one query with a join for each."""

UPWARDS = tuple("parent__" * steps + "parent_id" for steps in range(MAX_DEPTH - 1))


def path_of_team(team_id: UUID | None) -> tuple[UUID, ...]:
    """Return a team and those around it, innermost first; nothing for no team."""
    if team_id is None:
        return ()
    found = Team.objects.filter(id=team_id).values_list("id", *UPWARDS).first()
    return tuple(filter(None, found or ()))


def path_of_person(*, user_id: UUID, organization_id: UUID) -> tuple[UUID, ...]:
    """Return the team that a person's own calls count for there and those around it; none while it is suspended."""
    columns = ("team_id", *(f"team__{column}" for column in UPWARDS))
    memberships = Membership.objects.filter(user_id=user_id, organization_id=organization_id, team__is_active=True)
    return tuple(filter(None, memberships.values_list(*columns).first() or ()))
