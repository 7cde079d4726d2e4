"""Guardrails: what prompts and answers are looked through for, whose, and what was found."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from apps.core.ids import uuid7
from apps.core.models import Entity
from apps.gateway.choices import GuardDetector, GuardDirection, GuardMode
from apps.gateway.querysets import GuardBindingQuerySet, GuardHitQuerySet
from apps.users.models import ApiKey, Organization, Team


def _mode() -> models.CharField:
    return models.CharField(max_length=8, choices=GuardMode.choices, default=GuardMode.OFF)


class GuardPolicy(Entity):
    """What is looked for in prompts (`…_input`) and answers (`…_output`), and what is done about it.

    Without an organization it is the platform's, and may bind anybody. It applies where a GuardBinding says so. `own_patterns`
    are regular expressions by name; `moderation_thresholds` scores by category, 0.5 where nothing is said.
    """

    ID_PREFIX: ClassVar[str] = "gpol"

    organization = models.ForeignKey(
        Organization,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="Empty: the platform's own.",
    )
    name = models.CharField(max_length=120)
    description = models.CharField(max_length=500, blank=True)
    is_active = models.BooleanField(default=True)

    pii_input = _mode()
    pii_output = _mode()
    pii_kinds = ArrayField(
        models.CharField(max_length=32), default=list, blank=True, help_text="Empty: all kinds but names."
    )
    is_reversible = models.BooleanField(
        "placeholders are mapped back",
        default=False,
        help_text="Placeholders that stand in the answer again are replaced by what they stood for in the prompt.",
    )
    secrets_input = _mode()
    secrets_output = _mode()
    finds_random_text = models.BooleanField(
        "also texts that look random",
        default=False,
        help_text="Long tokens of high entropy count as secrets, too. Finds keys of unknown vendors, and some hashes.",
    )
    injection_input = _mode()
    injection_output = _mode()
    injection_threshold = models.FloatField(
        default=0.5, validators=[MinValueValidator(0.05), MaxValueValidator(1.0)], help_text="Score from 0.05 to 1."
    )
    moderation_input = _mode()
    moderation_output = _mode()
    moderation_thresholds = models.JSONField(default=dict, blank=True)
    moderation_model = models.CharField(
        max_length=160,
        blank=True,
        help_text="A provider's moderation model for prompts and whole answers, such as omni-moderation-latest. "
        "Empty: the built-in one.",
    )
    topics_input = _mode()
    topics_output = _mode()
    topics_allow = models.TextField(
        "allowed topics",
        blank=True,
        help_text="Has to hold, in CEL, over text, words, characters, direction, model, tags.",
    )
    topics_deny = models.TextField("denied topics", blank=True, help_text="Must not hold, in CEL.")
    lengths_input = _mode()
    lengths_output = _mode()
    max_prompt_characters = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    max_answer_characters = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    own_input = _mode()
    own_output = _mode()
    own_patterns = models.JSONField(default=dict, blank=True)
    own_words = ArrayField(models.CharField(max_length=120), default=list, blank=True)

    class Meta:
        verbose_name = "guardrail policy"
        verbose_name_plural = "guardrail policies"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"],
                name="gateway_guardpolicy_name_unique",
                nulls_distinct=False,
                violation_error_message="There is a policy of this name already.",
            ),
            models.CheckConstraint(
                condition=Q(injection_threshold__gte=0.05, injection_threshold__lte=1.0),
                name="gateway_guardpolicy_threshold",
            ),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{detector}_{direction}__in": GuardMode.values}),
                    name=f"gateway_guardpolicy_{detector}_{direction}",
                )
                for detector in GuardDetector.values
                for direction in GuardDirection.values
            ),
        ]

    def __str__(self) -> str:
        return self.name


class GuardBinding(Entity):
    """Where a policy applies: to one organization, team or key; to everybody when none is named.

    What binds a team binds the teams within it.
    """

    ID_PREFIX: ClassVar[str] = "gbind"

    policy = models.ForeignKey(GuardPolicy, on_delete=models.CASCADE, related_name="bindings")
    organization = models.ForeignKey(Organization, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    api_key = models.ForeignKey(ApiKey, null=True, blank=True, on_delete=models.CASCADE, related_name="+")

    objects = GuardBindingQuerySet.as_manager()

    class Meta:
        verbose_name = "guardrail binding"
        constraints = [
            models.UniqueConstraint(
                fields=["policy", "organization", "team", "api_key"],
                name="gateway_guardbinding_once",
                nulls_distinct=False,
                violation_error_message="The policy applies there already.",
            ),
            models.CheckConstraint(
                condition=Q(organization__isnull=True, team__isnull=True)
                | Q(api_key__isnull=True, organization__isnull=True)
                | Q(api_key__isnull=True, team__isnull=True),
                name="gateway_guardbinding_one_subject",
                violation_error_message="Name an organization, a team or a key, and one of them only.",
            ),
        ]

    def __str__(self) -> str:
        subject = self.api_key or self.team or self.organization or "everybody"
        return f"{self.policy} for {subject}"


class GuardHit(models.Model):
    """What one call had of one kind, by one policy: how often, and what was done about it. Never the text.

    Partitioned by month. Ids are bare, so that a hit outlives what it speaks of.
    """

    ID_PREFIX: ClassVar[str] = "ghit"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField()
    request_id = models.UUIDField()
    policy_id = models.UUIDField()
    organization_id = models.UUIDField(null=True)
    team_id = models.UUIDField(null=True)
    user_id = models.UUIDField(null=True)
    api_key_id = models.UUIDField(null=True)
    model = models.CharField(max_length=160)
    detector = models.CharField(max_length=16, choices=GuardDetector.choices)
    kind = models.CharField(max_length=48)
    mode = models.CharField(max_length=8, choices=GuardMode.choices)
    direction = models.CharField(max_length=8, choices=GuardDirection.choices)
    count = models.PositiveIntegerField()

    objects = GuardHitQuerySet.as_manager()

    class Meta:
        db_table = "gateway_guard_hit"
        verbose_name = "guardrail hit"
        indexes = [
            models.Index(fields=["-created_at"], name="gateway_guard_hit_created"),
            models.Index(fields=["organization_id", "-created_at"], name="gateway_guard_hit_org"),
            models.Index(fields=["policy_id", "-created_at"], name="gateway_guard_hit_policy"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} ({self.mode})"
