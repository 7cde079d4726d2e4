"""Teams: parts of an organization, one within another, and who works in them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from apps.core.models import Entity
from apps.users.choices import TeamRole
from apps.users.models.people import Organization, User
from apps.users.querysets import TeamQuerySet


class Team(Entity):
    """A part of an organization that calls are counted for. What binds a team binds the teams within it.

    The keys of a suspended team open nothing; its people's own calls count for no team.
    """

    ID_PREFIX: ClassVar[str] = "team"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="teams")
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=80)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.RESTRICT, related_name="children")
    is_active = models.BooleanField(default=True)

    objects = TeamQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "slug"],
                name="users_team_slug_unique",
                violation_error_message="The organization has a team with this slug.",
            ),
            models.CheckConstraint(
                condition=models.Q(parent__isnull=True) | ~models.Q(parent=models.F("id")),
                name="users_team_not_own_parent",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class TeamMembership(Entity):
    """One person's place in one team."""

    ID_PREFIX: ClassVar[str] = "tmem"

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="team_memberships")
    role = models.CharField(max_length=16, choices=TeamRole.choices, default=TeamRole.MEMBER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "user"], name="users_teammembership_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.team} ({self.role})"
