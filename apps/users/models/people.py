"""People, organizations and memberships."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, PermissionsMixin
from django.db import models
from django.db.models.functions import Lower

from apps.core.models import Entity
from apps.users.choices import Role
from apps.users.querysets import MembershipQuerySet, OrganizationQuerySet, UserManager


class User(Entity, AbstractBaseUser, PermissionsMixin):
    """A person, known by e-mail. `is_staff` opens the admin."""

    ID_PREFIX: ClassVar[str] = "user"

    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    email_verified_at = models.DateTimeField(null=True, blank=True)
    default_organization = models.ForeignKey(
        "users.Organization", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Lower("email"),
                name="users_user_email_unique",
                violation_error_message="This e-mail address has an account.",
            )
        ]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        """Keep addresses in the one form in which they are looked up."""
        super().clean()
        self.email = self.email.strip().lower()

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name.split(" ")[0] if self.name else self.email.split("@")[0]


class Organization(Entity):
    """A tenant: everything that is not a person's own belongs to one."""

    ID_PREFIX: ClassVar[str] = "org"

    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=80)
    is_personal = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["slug"], name="users_organization_slug_unique")]

    def __str__(self) -> str:
        return self.name


class Membership(Entity):
    """One person's role in one organization."""

    ID_PREFIX: ClassVar[str] = "mem"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.MEMBER)
    team = models.ForeignKey(
        "users.Team",
        null=True,
        blank=True,
        db_index=False,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The team that the person's own calls, those without a key, count for.",
    )

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "organization"], name="users_membership_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization} ({self.role})"
