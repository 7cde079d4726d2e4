"""Questions about people, organizations and keys."""

from __future__ import annotations

from typing import Any, Self

from django.contrib.auth.models import UserManager as DjangoUserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.core.actor import Actor, ActorKind


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

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> Any:  # type: ignore[override]
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> Any:  # type: ignore[override]
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


class ApiKeyQuerySet(models.QuerySet[Any]):
    def usable(self) -> Self:
        """Keep keys that open something now: not revoked, not expired, user and organization active."""
        return self.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=Now()),
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
        return found if actor.role in {"owner", "admin"} else found.filter(user_id=actor.user_id)
