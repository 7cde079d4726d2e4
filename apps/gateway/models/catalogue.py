"""Who runs models, which models there are, and who serves which."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar, Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q

from apps.core.fields import EncryptedTextField
from apps.core.models import Entity
from apps.gateway.choices import Capability, ProviderKind, Strategy, Tier
from apps.gateway.querysets import DeploymentQuerySet, ProviderQuerySet

MAX_FALLBACKS = 10
FALLBACKS_HELP = "Models or aliases, separated by commas, in the order in which they are asked."
MODEL_NAME = RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only.")


def fallback_field(when: str) -> ArrayField[Any, Any]:
    """Return a column with an ordered list of model names."""
    return ArrayField(
        models.CharField(max_length=160, validators=[MODEL_NAME]),
        default=list,
        db_default=[],
        blank=True,
        size=MAX_FALLBACKS,
        help_text=f"{when} {FALLBACKS_HELP}",
    )


class Provider(Entity):
    """Someone who runs models: an address, a wire format and a credential.

    A provider that comes from the environment keeps neither address nor credential here: both are read from the
    settings when a call is made, so that a changed variable takes effect at the next start and cannot be sent elsewhere.
    """

    ID_PREFIX: ClassVar[str] = "prov"

    slug = models.SlugField(max_length=64)
    kind = models.CharField(max_length=16, choices=ProviderKind.choices)
    name = models.CharField(max_length=120)
    base_url = models.CharField(max_length=500, blank=True)
    credential = EncryptedTextField(blank=True)
    is_active = models.BooleanField(default=True)
    from_environment = models.BooleanField(default=False, editable=False)

    _given_for: tuple[str, str] = ("", "")

    objects = ProviderQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["slug"], name="gateway_provider_slug_unique"),
            models.CheckConstraint(
                condition=Q(from_environment=False) | Q(credential=""),
                name="gateway_provider_environment_no_credential",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_credential(self) -> bool:
        """Tell whether a credential is stored, without showing it."""
        return bool(self.credential)

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any], **kwargs: Any) -> Self:
        """Remember for which address the credential was given."""
        provider = super().from_db(db, field_names, values, **kwargs)
        if {"base_url", "credential"} <= provider.__dict__.keys():
            provider._given_for = (provider.base_url, provider.credential)
        return provider

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        """Save. A credential that was given for another address is dropped: it must not be sent to the new one."""
        base_url, credential = self._given_for
        if credential and base_url != self.base_url and credential == self.credential:
            self.credential = ""
            update_fields = update_fields and {*update_fields, "credential"}
        super().save(*args, update_fields=update_fields, **kwargs)
        self._given_for = (self.base_url, self.credential)


class Model(Entity):
    """A model under the name that callers use.

    `loaded_values` holds what the catalogue file last wrote: a field that differs from it was edited by staff, and the
    next load leaves it alone.
    """

    ID_PREFIX: ClassVar[str] = "model"

    name = models.CharField(max_length=160, validators=[MODEL_NAME])
    tier = models.CharField(max_length=2, choices=Tier.choices, default=Tier.T2)
    context_window = models.PositiveIntegerField(null=True, blank=True, help_text="Tokens; empty when unknown.")
    max_output_tokens = models.PositiveIntegerField(null=True, blank=True)
    capabilities = ArrayField(models.CharField(max_length=16, choices=Capability.choices), default=list, blank=True)
    owned_by = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    is_sandbox = models.BooleanField(default=False, help_text="Answers are made up; for trials and tests.")
    loaded_values = models.JSONField(default=dict, blank=True, editable=False)
    strategy = models.CharField(
        max_length=16,
        choices=Strategy.choices,
        default=Strategy.WEIGHTED,
        db_default=Strategy.WEIGHTED.value,
        help_text="Among deployments of the same priority.",
    )
    fallbacks = fallback_field("When no deployment answers.")
    context_fallbacks = fallback_field("When the prompt is too long for this model.")
    content_fallbacks = fallback_field("When the provider refuses the content by its policy.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name"], name="gateway_model_name_unique")]

    def __str__(self) -> str:
        return self.name


class Deployment(Entity):
    """A model as one provider serves it.

    Calls go to the lowest `priority` first; among equals, at random by `weight`. What fails before its first byte is
    tried at the next.
    """

    ID_PREFIX: ClassVar[str] = "dep"

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="deployments")
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="deployments")
    upstream_model = models.CharField(max_length=200, help_text="The model's name at the provider.")
    priority = models.PositiveSmallIntegerField(default=0)
    weight = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(1000)])
    connect_timeout_seconds = models.FloatField(
        default=5.0, validators=[MinValueValidator(0.1), MaxValueValidator(60.0)]
    )
    read_timeout_seconds = models.FloatField(
        default=300.0,
        validators=[MinValueValidator(1.0), MaxValueValidator(3600.0)],
        help_text="Longest silence between two reads.",
    )
    is_active = models.BooleanField(default=True)
    max_parallel = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text="Calls at the same time, over all processes; empty for no limit.",
    )
    max_attempts = models.PositiveSmallIntegerField(
        default=2,
        db_default=2,
        validators=[MinValueValidator(1), MaxValueValidator(5)],
        help_text="How often one call may be sent here when no other deployment can take it.",
    )
    cool_down_failures = models.PositiveSmallIntegerField(
        default=5,
        db_default=5,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Failures in a row after which no calls are sent here for a while.",
    )
    cool_down_seconds = models.FloatField(
        default=10.0,
        db_default=10.0,
        validators=[MinValueValidator(0.1), MaxValueValidator(3600.0)],
        help_text="The first such while; it doubles, up to 5 minutes, as long as trials fail.",
    )
    probe_completion = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Health probes also ask for an answer of one token, which the provider may charge for.",
    )

    objects = DeploymentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "provider", "upstream_model"], name="gateway_deployment_once"),
            models.CheckConstraint(condition=Q(weight__gte=1), name="gateway_deployment_weight_positive"),
            models.CheckConstraint(
                condition=Q(connect_timeout_seconds__gt=0, read_timeout_seconds__gt=0),
                name="gateway_deployment_timeouts_positive",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} at {self.provider}"
