"""Questions about people, organizations and keys."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID

from django.contrib.auth.models import UserManager as DjangoUserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.core.actor import Actor, ActorKind
from apps.users.choices import Role


class UserQuerySet(models.QuerySet[Any]):
    def active(self) -> Self:
        return self.filter(is_active=True)

    def visible_to(self, actor: Actor) -> Self:
        """Keep the members of the actor's organization; the platform itself sees everybody."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        if not actor.organization_id:
            return self.none()
        return self.filter(memberships__organization_id=actor.organization_id)


class UserManager(DjangoUserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    """Creates users by e-mail; there is no user name."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> Any:
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> Any:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> Any:
        return self.get(email=(username or "").lower())


class OrganizationQuerySet(models.QuerySet[Any]):
    def active(self) -> Self:
        return self.filter(is_active=True)

    def visible_to(self, actor: Actor) -> Self:
        """Keep the organizations the actor's user belongs to."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        if actor.user_id:
            return self.filter(memberships__user_id=actor.user_id)
        return self.filter(id=actor.organization_id) if actor.organization_id else self.none()


class MembershipQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Keep the memberships of the actor's organization."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        return self.filter(organization_id=actor.organization_id) if actor.organization_id else self.none()

    def locked(self) -> Self:
        """Lock the rows until the transaction ends, in order of their key."""
        return self.select_for_update(of=("self",)).order_by("id")


class TeamQuerySet(models.QuerySet[Any]):
    def active(self) -> Self:
        return self.filter(is_active=True)

    def visible_to(self, actor: Actor) -> Self:
        """Keep the teams of the actor's organization."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        return self.filter(organization_id=actor.organization_id) if actor.organization_id else self.none()

    def joined_by(self, user_id: UUID | None) -> Self:
        """Keep the teams that a person works in."""
        return self.filter(memberships__user_id=user_id)

    def locked(self) -> Self:
        """Lock the rows until the transaction ends, in order of their key."""
        return self.select_for_update(of=("self",)).order_by("id")


class ApiKeyQuerySet(models.QuerySet[Any]):
    def usable(self) -> Self:
        """Keep keys that open something now: not revoked, not expired, user, team and organization active."""
        return self.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=Now()),
            Q(team__isnull=True) | Q(team__is_active=True),
            revoked_at__isnull=True,
            user__is_active=True,
            organization__is_active=True,
        )

    def visible_to(self, actor: Actor) -> Self:
        """Keep the keys of the actor's organization: all for its administrators, else the actor's own."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        if not actor.organization_id:
            return self.none()
        found = self.filter(organization_id=actor.organization_id)
        return found if actor.role in {Role.OWNER, Role.ADMIN} else found.filter(user_id=actor.user_id)

    def with_secret_hash(self, secret_hash: str) -> Self:
        """Keep the key that this secret opens: its present one, or the one before while a rotation overlaps."""
        return self.filter(
            Q(secret_hash=secret_hash) | Q(previous_secret_hash=secret_hash, previous_expires_at__gt=Now())
        )

    def locked(self) -> Self:
        """Lock the rows until the transaction ends, in order of their key."""
        return self.select_for_update(of=("self",)).order_by("id")


class UserSessionQuerySet(models.QuerySet[Any]):
    def live(self) -> Self:
        """Keep sessions that open something now: neither revoked nor expired, of an active user."""
        return self.filter(revoked_at__isnull=True, expires_at__gt=Now(), user__is_active=True)

    def visible_to(self, actor: Actor) -> Self:
        """Keep the actor's own sessions: where somebody is logged in concerns nobody else."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        return self.filter(user_id=actor.user_id) if actor.user_id else self.none()


class MailedLinkQuerySet(models.QuerySet[Any]):
    def unsent(self) -> Self:
        """Keep the mails that nobody has sent yet and that still make sense."""
        return self.filter(sent_at__isnull=True, expires_at__gt=Now())

    def open_for(self, *, purpose: str, token_hash: str) -> Self:
        """Keep the link with this token if it was not used and has not expired."""
        return self.filter(
            purpose=purpose,
            token_hash=token_hash,
            used_at__isnull=True,
            expires_at__gt=Now(),
            user__is_active=True,
        )


class OAuthClientQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Keep the clients of the actor's organization."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        return self.filter(organization_id=actor.organization_id) if actor.organization_id else self.none()

    def acting_for(self, user_id: UUID | None) -> Self:
        """Keep the clients that hold tokens of this person."""
        return self.filter(
            Q(accesstoken__user_id=user_id, accesstoken__expires__gt=Now())
            | Q(refreshtoken__user_id=user_id, refreshtoken__revoked__isnull=True)
        ).distinct()


class OAuthClientManager(models.Manager.from_queryset(OAuthClientQuerySet)):  # type: ignore[misc]
    """Finds clients by their id and always with their organization, whose state decides over them."""

    def get_queryset(self) -> Any:
        return super().get_queryset().select_related("organization")

    def get_by_natural_key(self, client_id: str) -> Any:
        return self.get(client_id=client_id)
