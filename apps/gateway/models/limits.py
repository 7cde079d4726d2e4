"""Rate limits: how much of what, for whom."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from apps.core.errors import InvalidInput
from apps.core.models import Entity
from apps.gateway.choices import LimitAlgorithm, LimitScope
from apps.gateway.querysets import LimitQuerySet
from apps.users.models import ApiKey, Organization, Team, User

SUBJECT_KINDS: dict[str, type[Entity]] = {
    LimitScope.ORGANIZATION: Organization,
    LimitScope.TEAM: Team,
    LimitScope.USER: User,
    LimitScope.KEY: ApiKey,
}


class Limit(Entity):
    """A limit of requests and tokens a minute and of calls at a time.

    It holds for one `subject` (a public id; for end users, tags and models their name) or, where that is empty, for each
    one of the scope by itself. Without an organization it holds on the whole platform. `model` narrows it to one model.
    """

    ID_PREFIX: ClassVar[str] = "lim"

    organization = models.ForeignKey(
        Organization,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="Empty: on the whole platform.",
    )
    scope = models.CharField(max_length=16, choices=LimitScope.choices)
    subject = models.CharField(
        max_length=200,
        blank=True,
        help_text="The id (key_…, user_…, team_…, org_…), or the name of the end user, tag or model. "
        "Empty: each one of the scope by itself.",
    )
    model = models.CharField("only for model", max_length=160, blank=True, help_text="Empty: calls of every model.")
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_minute = models.PositiveIntegerField(null=True, blank=True)
    parallel_calls = models.PositiveIntegerField("calls at a time", null=True, blank=True)
    algorithm = models.CharField(
        max_length=16,
        choices=LimitAlgorithm.choices,
        default=LimitAlgorithm.SLIDING_WINDOW,
        help_text="A sliding window never lets more than the limit through in any minute; a token bucket refills steadily "
        "and lets a burst through at once.",
    )
    burst_requests = models.PositiveIntegerField(
        null=True, blank=True, help_text="Of a token bucket; empty: the requests of a minute."
    )
    burst_tokens = models.PositiveIntegerField(
        null=True, blank=True, help_text="Of a token bucket; empty: the tokens of a minute."
    )
    is_active = models.BooleanField(default=True)
    description = models.CharField(max_length=300, blank=True)

    objects = LimitQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "scope", "subject", "model"],
                name="gateway_limit_once",
                nulls_distinct=False,
                violation_error_message="There is a limit for this already; change that one.",
            ),
            models.CheckConstraint(
                condition=~Q(
                    requests_per_minute__isnull=True, tokens_per_minute__isnull=True, parallel_calls__isnull=True
                ),
                name="gateway_limit_limits_something",
                violation_error_message="Limit requests, tokens or calls at a time.",
            ),
            models.CheckConstraint(
                condition=(Q(requests_per_minute__isnull=True) | Q(requests_per_minute__gte=1))
                & (Q(tokens_per_minute__isnull=True) | Q(tokens_per_minute__gte=1))
                & (Q(parallel_calls__isnull=True) | Q(parallel_calls__gte=1))
                & (Q(burst_requests__isnull=True) | Q(burst_requests__gte=1))
                & (Q(burst_tokens__isnull=True) | Q(burst_tokens__gte=1)),
                name="gateway_limit_from_one",
                violation_error_message="A limit is at least 1; to let nothing through, revoke the key.",
            ),
        ]

    def __str__(self) -> str:
        return self.describe(self.subject)

    def describe(self, name: str) -> str:
        """Return the limit in words, of a subject by its name."""
        scope = self.get_scope_display().lower()
        whose = f"{scope} {name}" if name else f"each {scope}"
        return f"{whose}{f' with {self.model}' if self.model else ''}: {self.summary}"

    @property
    def summary(self) -> str:
        """Return the figures in words."""
        parts = (
            (self.requests_per_minute, "requests a minute"),
            (self.tokens_per_minute, "tokens a minute"),
            (self.parallel_calls, "calls at a time"),
        )
        return ", ".join(f"{limit:,} {words}" for limit, words in parts if limit is not None)

    def clean(self) -> None:
        """Raise ValidationError for a subject that is not of the scope, or a burst without a bucket."""
        errors: dict[str, str] = {}
        kind = SUBJECT_KINDS.get(self.scope)
        if self.subject and kind is not None:
            try:
                if not self._belongs(kind):
                    errors["subject"] = "There is none with this id in the organization."
            except InvalidInput:
                errors["subject"] = f"Not an id of this scope: those begin with {kind.ID_PREFIX}_."
        if self.algorithm != LimitAlgorithm.TOKEN_BUCKET and (self.burst_requests or self.burst_tokens):
            errors["algorithm"] = "Only a token bucket has bursts."
        if self.scope == LimitScope.MODEL and self.model:
            errors["model"] = "A limit of a model names it as its subject."
        if errors:
            raise ValidationError(errors)

    def _belongs(self, kind: type[Entity]) -> bool:
        found = kind._default_manager.filter(id=kind.parse_id(self.subject))
        if self.organization_id is None:
            return found.exists()
        path = {Organization: "id", User: "memberships__organization_id"}.get(kind, "organization_id")
        return found.filter(**{path: self.organization_id}).exists()
