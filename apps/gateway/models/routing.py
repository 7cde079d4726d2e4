"""Other names for models, rules about where calls go, and what is known of the health of those who answer."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps.core.ids import uuid7
from apps.core.models import Entity
from apps.gateway.choices import HealthStatus, ProbeKind, RuleAction
from apps.gateway.models.catalogue import MODEL_NAME, Deployment, Model, Provider, fallback_field
from apps.gateway.querysets import HealthCheckQuerySet


class Alias(Entity):
    """Another name for a model, for everybody or for one organization.

    A model's own name always means that model; an organization's alias goes before everybody's. An alias without lists of
    its own has those of its model.
    """

    ID_PREFIX: ClassVar[str] = "alias"

    name = models.CharField(max_length=160, validators=[MODEL_NAME])
    organization = models.ForeignKey(
        "users.Organization",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="Empty: for everybody.",
    )
    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="aliases")
    fallbacks = fallback_field("When no deployment answers.")
    context_fallbacks = fallback_field("When the prompt is too long for the model.")
    content_fallbacks = fallback_field("When the provider refuses the content by its policy.")
    is_active = models.BooleanField(default=True)

    class Meta:
        verbose_name_plural = "aliases"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"],
                name="gateway_alias_once",
                nulls_distinct=False,
                violation_error_message="There is such an alias already.",
            )
        ]

    def __str__(self) -> str:
        return self.name


class RoutingRule(Entity):
    """A condition in CEL about calls, and where those calls go.

    Rules are asked in the order of their positions; the first one that holds and can be followed decides.
    """

    ID_PREFIX: ClassVar[str] = "rule"

    name = models.CharField(max_length=120)
    organization = models.ForeignKey(
        "users.Organization",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="Empty: for calls of everybody.",
    )
    position = models.PositiveIntegerField(default=100, help_text="Lower ones are asked first.")
    condition = models.TextField(help_text="An expression in CEL, such as: model == 'gpt-4o' && prompt_tokens > 50000")
    time_zone = models.CharField(
        max_length=64, default="UTC", help_text="Of `hour`, `minute` and `weekday`; a name such as Europe/Berlin."
    )
    action = models.CharField(max_length=16, choices=RuleAction.choices, default=RuleAction.SEND)
    target = models.CharField(
        max_length=160,
        blank=True,
        validators=[MODEL_NAME],
        help_text="Model or alias that the calls go to; empty keeps the one that was asked for.",
    )
    deployments = models.ManyToManyField(
        Deployment,
        blank=True,
        related_name="+",
        help_text="Only these, by priority; empty for all that serve the model.",
    )
    fallbacks = fallback_field("When no deployment answers.")
    context_fallbacks = fallback_field("When the prompt is too long for the model.")
    content_fallbacks = fallback_field("When the provider refuses the content by its policy.")
    message = models.CharField(max_length=500, blank=True, help_text="What callers read when the rule refuses.")
    overrides_keys = models.BooleanField(
        "also for keys without the target",
        default=False,
        help_text="Follow the rule even for keys whose own list of models leaves its target out. Leave this off where "
        "callers choose what the rule looks at: tags, metadata, end user.",
    )
    is_active = models.BooleanField(default=True)

    class Meta:
        indexes = [models.Index(fields=["position", "id"], name="gateway_rule_order")]
        constraints = [
            models.CheckConstraint(
                condition=~Q(action=RuleAction.REFUSE) | Q(target=""),
                name="gateway_rule_refusal_has_no_target",
                violation_error_message="A rule that refuses has no target.",
            )
        ]

    def __str__(self) -> str:
        return self.name


class HealthState(models.Model):
    """What the last probes said of a provider, or of one of its deployments."""

    id = models.BigAutoField(primary_key=True)
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="health")
    deployment = models.ForeignKey(Deployment, null=True, blank=True, on_delete=models.CASCADE, related_name="health")
    status = models.CharField(max_length=16, choices=HealthStatus.choices, default=HealthStatus.UNKNOWN)
    since = models.DateTimeField(help_text="When the status began.")
    checked_at = models.DateTimeField()
    latency_ms = models.PositiveIntegerField(null=True)
    failures = models.PositiveIntegerField(default=0, help_text="Failed probes in a row.")
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "gateway_health_state"
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "deployment"], name="gateway_health_state_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.deployment or self.provider}: {self.get_status_display()}"


class HealthCheck(models.Model):
    """One health probe and its result. Rows are never changed; months older than the retention are dropped."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    checked_at = models.DateTimeField()
    provider_id = models.UUIDField()
    deployment_id = models.UUIDField(null=True)
    kind = models.CharField(max_length=16, choices=ProbeKind.choices)
    is_up = models.BooleanField()
    latency_ms = models.PositiveIntegerField(null=True)
    error_code = models.CharField(max_length=96, blank=True)

    objects = HealthCheckQuerySet.as_manager()

    class Meta:
        db_table = "gateway_health_check"
        indexes = [
            models.Index(fields=["provider_id", "checked_at"], name="gateway_health_check_provider"),
            models.Index(fields=["checked_at"], name="gateway_health_check_time"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} at {self.checked_at:%Y-%m-%d %H:%M:%S}"
