"""Organizations and who is in them."""

from __future__ import annotations

import secrets

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from apps.core.actor import Actor, ActorKind
from apps.events.services import publish
from apps.users.choices import RANK, Role
from apps.users.errors import AlreadyMember, LastOwner, RoleTooLow
from apps.users.events import (
    MembershipAdded,
    MembershipRemoved,
    MembershipRoleChanged,
    OrganizationActivated,
    OrganizationCreated,
    OrganizationSuspended,
)
from apps.users.models import Membership, Organization, TeamMembership, User
from apps.users.services.announcing import announce_identity_change


@transaction.atomic
def create_organization(
    *, name: str, owner: User, actor: Actor, slug: str = "", is_personal: bool = False
) -> Organization:
    """Found an organization with its first owner; it becomes their default if they have none."""
    organization = Organization.objects.create(name=name, slug=slug or _make_slug(name), is_personal=is_personal)
    publish(
        OrganizationCreated(
            aggregate_id=organization.id, organization_id=organization.id, is_personal=organization.is_personal
        ),
        actor=actor,
    )
    _join(user=owner, organization=organization, role=Role.OWNER, actor=actor)
    if User.objects.filter(id=owner.id, default_organization__isnull=True).update(default_organization=organization):
        owner.default_organization = organization
    return organization


@transaction.atomic
def add_membership(*, user: User, organization: Organization, role: str, actor: Actor) -> Membership:
    """Take a person into an organization. Raise AlreadyMember, or RoleTooLow for a role above the actor's own."""
    _require_rank(actor=actor, organization=organization, role=role)
    try:
        with transaction.atomic():
            return _join(user=user, organization=organization, role=role, actor=actor)
    except IntegrityError as error:
        raise AlreadyMember(f"{user.public_id} is a member of {organization.public_id} already.") from error


@transaction.atomic
def change_membership(*, membership: Membership, role: str, actor: Actor) -> Membership:
    """Give a member another role. Raise LastOwner, or RoleTooLow where either role is above the actor's own."""
    locked = _lock(membership)
    _require_rank(actor=actor, organization=locked.organization, role=role)
    _require_rank(actor=actor, organization=locked.organization, role=locked.role)
    if locked.role == role:
        return locked
    if locked.role == Role.OWNER:
        _require_other_owner(locked)
    previous, locked.role = locked.role, role
    locked.save(update_fields=["role", "updated_at"])
    publish(
        MembershipRoleChanged(
            aggregate_id=locked.id,
            organization_id=locked.organization_id,
            user_id=locked.user_id,
            role=role,
            previous_role=previous,
        ),
        actor=actor,
    )
    announce_identity_change(kind="user", id=locked.user_id)
    return locked


@transaction.atomic
def remove_membership(*, membership: Membership, actor: Actor) -> None:
    """Let a member go; their keys there stop at once. Raise LastOwner, or RoleTooLow for somebody above the actor."""
    locked = _lock(membership)
    if locked.user_id != actor.user_id:
        _require_rank(actor=actor, organization=locked.organization, role=locked.role)
    if locked.role == Role.OWNER:
        _require_other_owner(locked)
    User.objects.filter(id=locked.user_id, default_organization=locked.organization_id).update(
        default_organization=None
    )
    TeamMembership.objects.filter(user_id=locked.user_id, team__organization_id=locked.organization_id).delete()
    publish(
        MembershipRemoved(aggregate_id=locked.id, organization_id=locked.organization_id, user_id=locked.user_id),
        actor=actor,
    )
    announce_identity_change(kind="user", id=locked.user_id)
    locked.delete()


@transaction.atomic
def suspend_organization(*, organization: Organization, actor: Actor) -> None:
    """Stop everything that acts in an organization; suspending twice does nothing."""
    if Organization.objects.filter(id=organization.id, is_active=True).update(is_active=False):
        organization.is_active = False
        publish(OrganizationSuspended(aggregate_id=organization.id, organization_id=organization.id), actor=actor)
        announce_identity_change(kind="organization", id=organization.id)


@transaction.atomic
def activate_organization(*, organization: Organization, actor: Actor) -> None:
    """Let a suspended organization act again; activating twice does nothing."""
    if Organization.objects.filter(id=organization.id, is_active=False).update(is_active=True):
        organization.is_active = True
        publish(OrganizationActivated(aggregate_id=organization.id, organization_id=organization.id), actor=actor)
        announce_identity_change(kind="organization", id=organization.id)


def _make_slug(name: str) -> str:
    """Return a slug that is free: chance, not a look at the table, keeps two founders apart."""
    return f"{slugify(name)[:60] or 'organization'}-{secrets.token_hex(4)}"


def _join(*, user: User, organization: Organization, role: str, actor: Actor) -> Membership:
    membership = Membership.objects.create(user=user, organization=organization, role=role)
    publish(
        MembershipAdded(aggregate_id=membership.id, organization_id=organization.id, user_id=user.id, role=role),
        actor=actor,
    )
    announce_identity_change(kind="user", id=user.id)
    return membership


def _lock(membership: Membership) -> Membership:
    # The organization's row comes first: everybody who counts its owners waits here.
    Organization.objects.select_for_update().get(id=membership.organization_id)
    return Membership.objects.locked().select_related("organization").get(id=membership.id)


def _require_other_owner(membership: Membership) -> None:
    others = Membership.objects.filter(organization_id=membership.organization_id, role=Role.OWNER)
    if not others.exclude(id=membership.id).exists():
        raise LastOwner("Make somebody else an owner first: an organization without one could never be changed again.")


def _require_rank(*, actor: Actor, organization: Organization, role: str) -> None:
    if actor.kind == ActorKind.SYSTEM:
        return
    own = RANK.get(Role(actor.role), 0) if actor.role and actor.organization_id == organization.id else 0
    if own < RANK[Role.ADMIN] or own < RANK[Role(role)]:
        raise RoleTooLow(f"Giving or taking the role {role} needs an administrator who has at least that role.")
