"""Teams: make, change, delete them, and say who works in them."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from apps.core.actor import Actor, ActorKind
from apps.events.services import publish
from apps.users.choices import RANK, Role, TeamRole
from apps.users.errors import OrganizationUnknown, RoleTooLow, TeamInUse, TeamTaken, TeamUnfit
from apps.users.events import TeamChanged, TeamCreated, TeamDeleted, TeamMemberAdded, TeamMemberRemoved
from apps.users.models import ApiKey, Membership, Organization, Team, TeamMembership, User
from apps.users.selectors.teams import MAX_DEPTH, path_of_team
from apps.users.services.announcing import PLATFORM_ID, announce_identity_change


@transaction.atomic
def create_team(
    *, organization: Organization, name: str, actor: Actor, slug: str = "", parent: Team | None = None
) -> Team:
    """Make a team, within another one or not. Raise RoleTooLow, TeamTaken for its slug, TeamUnfit for its parent."""
    require_administrator(actor=actor, organization_id=organization.id)
    _lock_organization(organization.id)
    _require_parent(organization_id=organization.id, parent=parent, depth_below=1)
    slug = slug or f"{slugify(name)[:60] or 'team'}-{secrets.token_hex(2)}"
    try:
        with transaction.atomic():
            team: Team = Team.objects.create(organization=organization, name=name, slug=slug, parent=parent)
    except IntegrityError as error:
        raise TeamTaken(f"slug: the organization has a team {slug!r} already.") from error
    publish(
        TeamCreated(aggregate_id=team.id, organization_id=organization.id, parent_id=parent.id if parent else None),
        actor=actor,
    )
    return team


@transaction.atomic
def change_team(*, team: Team, actor: Actor, **changes: Any) -> Team:
    """Change a team's `name`, `slug`, `parent` or `is_active`; the teams within a suspended one are suspended with it.

    Raise RoleTooLow, TeamTaken, TeamUnfit for a parent elsewhere, within the team itself, or too deep.
    """
    require_administrator(actor=actor, organization_id=team.organization_id)
    _lock_organization(team.organization_id)
    locked: Team = Team.objects.locked().get(id=team.id)
    changed = tuple(sorted(name for name, value in changes.items() if getattr(locked, name) != value))
    if not changed:
        return locked
    for name in changed:
        setattr(locked, name, changes[name])
    within = _teams_within(locked)
    if "parent" in changed:
        if locked.parent is not None and locked.parent.id in within:
            raise TeamUnfit("parent: a team cannot lie within itself.")
        _require_parent(organization_id=locked.organization_id, parent=locked.parent, depth_below=max(within.values()))
    try:
        with transaction.atomic():
            locked.save(update_fields=[*changed, "updated_at"])
    except IntegrityError as error:
        raise TeamTaken(f"slug: the organization has a team {locked.slug!r} already.") from error
    _tell_change(locked, changed, actor)
    if "is_active" in changed and not locked.is_active:
        for inner in Team.objects.locked().filter(id__in=within.keys() - {locked.id}, is_active=True):
            inner.is_active = False
            inner.save(update_fields=["is_active", "updated_at"])
            _tell_change(inner, ("is_active",), actor)
    return locked


@transaction.atomic
def delete_team(*, team: Team, actor: Actor) -> None:
    """Delete a team: its keys and people count for none. Raise RoleTooLow, TeamInUse while teams lie within it."""
    require_administrator(actor=actor, organization_id=team.organization_id)
    _lock_organization(team.organization_id)
    if Team.objects.filter(parent=team).exists():
        raise TeamInUse("Move or delete the teams within this one first.")
    publish(TeamDeleted(aggregate_id=team.id, organization_id=team.organization_id), actor=actor)
    announce_identity_change(kind="team", id=team.id)
    Team.objects.filter(id=team.id).delete()


@transaction.atomic
def save_team_member(*, team: Team, user: User, role: str, actor: Actor) -> TeamMembership:
    """Take a person into a team, or give them another role there.

    Raise RoleTooLow unless the actor administers the team or its organization, OrganizationUnknown for a person who is no
    member of that.
    """
    require_team_administrator(actor=actor, team=team)
    _lock_organization(team.organization_id)
    if not Membership.objects.filter(user=user, organization_id=team.organization_id).exists():
        raise OrganizationUnknown(f"{user.public_id} is no member of the team's organization.")
    membership, is_new = TeamMembership.objects.get_or_create(team=team, user=user, defaults={"role": role})
    if is_new or membership.role != role:
        membership.role = role
        membership.save(update_fields=["role", "updated_at"])
        publish(
            TeamMemberAdded(aggregate_id=team.id, organization_id=team.organization_id, user_id=user.id, role=role),
            actor=actor,
        )
    return membership


@transaction.atomic
def remove_team_member(*, team: Team, user: User, actor: Actor) -> None:
    """Let a person leave a team: their keys and own calls count for it no more; removing twice does nothing.

    Raise RoleTooLow unless it is oneself, or the actor administers the team or its organization.
    """
    if actor.user_id != user.id:
        require_team_administrator(actor=actor, team=team)
    _lock_organization(team.organization_id)
    if TeamMembership.objects.filter(team=team, user=user).delete()[0]:
        release_person(user_id=user.id, teams=(team.id,))
        publish(
            TeamMemberRemoved(aggregate_id=team.id, organization_id=team.organization_id, user_id=user.id), actor=actor
        )


@transaction.atomic
def choose_own_team(*, membership: Membership, team: Team | None, actor: Actor) -> Membership:
    """Say which team a person's own calls, those without a key, count for. Raise RoleTooLow, TeamUnfit."""
    if actor.user_id != membership.user_id:
        require_administrator(actor=actor, organization_id=membership.organization_id)
    _lock_organization(membership.organization_id)
    if team is not None:
        require_team(team=team, user_id=membership.user_id, organization_id=membership.organization_id, actor=actor)
    locked: Membership = Membership.objects.locked().get(id=membership.id)
    locked.team = team
    locked.save(update_fields=["team", "updated_at"])
    announce_identity_change(kind="user", id=locked.user_id)
    return locked


def release_person(*, user_id: UUID, teams: tuple[UUID, ...]) -> None:
    """Make a person's keys and own calls count for none of these teams."""
    ApiKey.objects.filter(user_id=user_id, team_id__in=teams).update(team=None)
    Membership.objects.filter(user_id=user_id, team_id__in=teams).update(team=None)
    announce_identity_change(kind="user", id=user_id)


def require_team(*, team: Team, user_id: UUID, organization_id: UUID, actor: Actor) -> None:
    """Raise TeamUnfit unless calls of this person may count for the team.

    It is an active team of the organization, and the person works in it or the actor administers the organization.
    """
    is_there = team.organization_id == organization_id and team.is_active
    if is_there and _administers(actor, organization_id):
        return
    if not is_there or not TeamMembership.objects.filter(team=team, user_id=user_id).exists():
        raise TeamUnfit(
            "team_id: calls count for a team of the same organization that their person works in.",
            errors={"team_id": ["Not a team that the person works in."]},
        )


def require_administrator(*, actor: Actor, organization_id: UUID) -> None:
    """Raise RoleTooLow unless the actor administers the organization."""
    if not _administers(actor, organization_id):
        raise RoleTooLow("Teams are made and changed by administrators of their organization.")


def require_team_administrator(*, actor: Actor, team: Team) -> None:
    """Raise RoleTooLow unless the actor administers the team, or its organization."""
    if _administers(actor, team.organization_id):
        return
    own = TeamMembership.objects.filter(team=team, user_id=actor.user_id or PLATFORM_ID, role=TeamRole.ADMIN)
    if actor.organization_id != team.organization_id or not own.exists():
        raise RoleTooLow("The members of a team are chosen by its administrators and those of its organization.")


def _administers(actor: Actor, organization_id: UUID) -> bool:
    if actor.kind == ActorKind.SYSTEM:
        return True
    return actor.organization_id == organization_id and RANK.get(Role(actor.role or Role.VIEWER), 0) >= RANK[Role.ADMIN]


def _lock_organization(organization_id: UUID) -> None:
    # Teams lie within one another: who moves one waits for who moves another, so that no circle can come about.
    Organization.objects.select_for_update().get(id=organization_id)


def _require_parent(*, organization_id: UUID, parent: Team | None, depth_below: int) -> None:
    if parent is None:
        return
    if parent.organization_id != organization_id:
        raise TeamUnfit("parent: a team lies within a team of the same organization.")
    if len(path_of_team(parent.id)) + depth_below > MAX_DEPTH:
        raise TeamUnfit(f"parent: teams lie at most {MAX_DEPTH} deep within one another.")


def _teams_within(team: Team) -> dict[UUID, int]:
    """Return the team (1) and those within it, with how many levels down they lie."""
    found, level = {team.id: 1}, [team.id]
    while level:
        level = list(Team.objects.filter(parent_id__in=level).values_list("id", flat=True))
        found |= dict.fromkeys(level, max(found.values()) + 1)
    return found


def _tell_change(team: Team, changed: tuple[str, ...], actor: Actor) -> None:
    publish(TeamChanged(aggregate_id=team.id, organization_id=team.organization_id, fields=changed), actor=actor)
    announce_identity_change(kind="team", id=team.id)
