"""Providers, models and deployments for staff. Credentials go in and never come out."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminPasswordWidget

from apps.billing.models import Price
from apps.core.actor import Actor
from apps.core.admin import ModelAdmin
from apps.core.errors import AppError
from apps.core.money import from_micros
from apps.core.outbound.errors import OutboundRefused
from apps.core.outbound.guard import inspect_url
from apps.gateway.choices import Breaker, Capability, ProviderKind
from apps.gateway.models import Deployment, Model, Provider
from apps.gateway.runtime.health import Health
from apps.gateway.runtime.sharing import shared_health
from apps.gateway.selectors.health import health_history
from apps.gateway.services.announcing import announce_catalogue_change
from apps.gateway.services.providers import probe_provider, save_provider
from apps.gateway.services.routing.saving import check_fallbacks


class ProviderForm(forms.ModelForm):
    """A provider with a credential that can be set and not read."""

    new_credential = forms.CharField(
        label="Credential",
        required=False,
        strip=True,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Stored encrypted and never shown. Empty keeps the present one; a new address drops it.",
    )

    class Meta:
        model = Provider
        fields = ("name", "slug", "kind", "base_url", "is_active")

    def clean(self) -> dict[str, Any]:
        """Refuse addresses that calls may not go to."""
        found = super().clean() or {}
        kind, base_url = found.get("kind"), found.get("base_url", "")
        if kind and kind != ProviderKind.SANDBOX:
            try:
                inspect_url(base_url)
            except OutboundRefused as error:
                self.add_error("base_url", error.message)
        return found

    def save(self, commit: bool = True) -> Provider:
        """Take a new credential over."""
        if self.cleaned_data.get("new_credential"):
            self.instance.credential = self.cleaned_data["new_credential"]
        return super().save(commit)


class ModelForm(forms.ModelForm):
    """A model with its capabilities as boxes to tick."""

    capabilities = forms.MultipleChoiceField(
        choices=Capability.choices, required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    class Meta:
        model = Model
        fields = (
            "name", "tier", "context_window", "max_output_tokens", "capabilities", "owned_by", "is_active", "is_sandbox",
            "strategy", "fallbacks", "context_fallbacks", "content_fallbacks",
        )  # fmt: skip

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        for field, sentences in check_fallbacks(self.instance).items():
            if field not in self.errors:
                self.add_error(field, sentences)


class DeploymentInline(TabularInline):
    """Deployments on the page of their model or provider."""

    model = Deployment
    extra = 0
    autocomplete_fields = ("model", "provider")
    fields = ("model", "provider", "upstream_model", "priority", "weight", "is_active")
    show_change_link = True


class AnnouncingAdmin(ModelAdmin):
    """A page whose changes running processes hear of at once."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        announce_catalogue_change()

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        super().delete_model(request, obj)
        announce_catalogue_change()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        super().delete_queryset(request, queryset)
        announce_catalogue_change()


@admin.register(Provider)
class ProviderAdmin(AnnouncingAdmin):
    form = ProviderForm
    list_display: ClassVar[Any] = ("name", "slug", "kind", "base_url", "origin", "has_key", "deployments", "is_active")
    list_filter: ClassVar[Any] = ("kind", "is_active", "from_environment")
    search_fields: ClassVar[Any] = ("name", "slug", "base_url")
    ordering: ClassVar[Any] = ("name", "id")
    fields: ClassVar[Any] = ("name", "slug", "kind", "base_url", "new_credential", "is_active", "origin", "has_key")
    readonly_fields: ClassVar[Any] = ("origin", "has_key")
    inlines: ClassVar[Any] = (DeploymentInline,)
    actions: ClassVar[Any] = ("test_connection",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        return super().get_queryset(request).annotate(deployment_count=Count("deployments"))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # The environment's providers take address and credential from there: nothing to type in.
        if obj is not None and obj.from_environment:
            return [name for name in self.fields if name != "new_credential"]
        return self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and obj.from_environment:
            return (*self.readonly_fields, "slug", "kind", "base_url")
        return self.readonly_fields

    @admin.display(description="from", ordering="from_environment")
    def origin(self, provider: Provider) -> str:
        """Say where address and credential come from."""
        return "the environment" if provider.from_environment else "this page"

    @admin.display(description="credential", boolean=True)
    def has_key(self, provider: Provider) -> bool | None:
        """Tell whether a credential is stored; unknown where the environment gives it."""
        return None if provider.from_environment else provider.has_credential

    @admin.display(description="models", ordering="deployment_count")
    def deployments(self, provider: Any) -> int:
        """Return how many models it serves."""
        return int(provider.deployment_count)

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        save_provider(provider=obj, actor=_actor(request))

    @admin.action(description="Test the connection", permissions=["change"])
    def test_connection(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        """Ask each provider for its models, with one request."""
        for provider in queryset.order_by("name"):
            try:
                names = probe_provider(provider)
            except AppError as error:
                self.message_user(request, f"{provider.name}: {error.message}", messages.ERROR)
            else:
                self.message_user(request, f"{provider.name} answers and lists {len(names)} models.", messages.SUCCESS)


@admin.register(Model)
class ModelAdminPage(AnnouncingAdmin):
    form = ModelForm
    list_display: ClassVar[Any] = ("name", "tier", "context_window", "served_by", "owned_by", "is_active", "is_sandbox")
    list_filter: ClassVar[Any] = ("tier", "is_active", "is_sandbox", "owned_by", "deployments__provider")
    search_fields: ClassVar[Any] = ("name", "owned_by")
    ordering: ClassVar[Any] = ("name", "id")
    readonly_fields: ClassVar[Any] = ("prices",)
    inlines: ClassVar[Any] = (DeploymentInline,)
    actions: ClassVar[Any] = ("offer", "withdraw")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).prefetch_related("deployments__provider")

    @admin.display(description="served by")
    def served_by(self, model: Model) -> str:
        """Return the providers that serve it."""
        return ", ".join(sorted({row.provider.name for row in model.deployments.all() if row.is_active})) or "nobody"

    @admin.display(description="prices (USD per million tokens)")
    def prices(self, model: Model) -> str | SafeString:
        """Show what the model costs now, at each provider; prices are edited on their own page."""
        served = Q()
        for row in model.deployments.all():
            served |= Q(provider=row.provider.slug, model=row.upstream_model)
        found = Price.objects.filter(served).valid_at(timezone.now()) if served else Price.objects.none()
        rows = [
            (
                price.provider,
                from_micros(price.input_micros),
                from_micros(price.cached_micros),
                from_micros(price.output_micros),
                f"{price.valid_from:%Y-%m-%d}",
            )
            for price in found
        ]
        lines = format_html_join("", "<div>{}: input {}, cached {}, output {} (since {})</div>", rows)
        return lines or "none: calls are free of charge"

    @admin.action(description="Offer these models", permissions=["change"])
    def offer(self, request: HttpRequest, queryset: QuerySet[Model]) -> None:
        """Let them be called."""
        self._switch(request, queryset, is_active=True)

    @admin.action(description="Withdraw these models", permissions=["change"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[Model]) -> None:
        """Let them be called no more."""
        self._switch(request, queryset, is_active=False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Model], *, is_active: bool) -> None:
        changed = queryset.exclude(is_active=is_active).update(is_active=is_active, updated_at=timezone.now())
        announce_catalogue_change()
        self.message_user(request, f"{changed} models {'offered' if is_active else 'withdrawn'}.", messages.SUCCESS)


@admin.register(Deployment)
class DeploymentAdmin(AnnouncingAdmin):
    list_display: ClassVar[Any] = (
        "model", "provider", "upstream_model", "priority", "weight", "probed", "cooling", "is_active",
    )  # fmt: skip
    list_filter: ClassVar[Any] = ("provider", "is_active", "model__tier")
    search_fields: ClassVar[Any] = ("model__name", "upstream_model", "provider__name")
    ordering: ClassVar[Any] = ("model__name", "priority", "id")
    list_select_related: ClassVar[Any] = ("model", "provider")
    autocomplete_fields: ClassVar[Any] = ("model", "provider")
    readonly_fields: ClassVar[Any] = ("probed", "cooling", "history")
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("model", "provider", "upstream_model", "is_active")}),
        ("Its share of calls", {"fields": ("priority", "weight", "max_parallel")}),
        (
            "When it fails",
            {
                "fields": (
                    "max_attempts", "cool_down_failures", "cool_down_seconds", "connect_timeout_seconds",
                    "read_timeout_seconds",
                )
            },
        ),
        ("Health", {"fields": ("probe_completion", "probed", "cooling", "history")}),
    )  # fmt: skip
    _health: ClassVar[Health] = Health(clock=time.monotonic)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        type(self)._health = shared_health()
        return super().get_queryset(request).prefetch_related("health", "provider__health")

    @admin.display(description="probes say")
    def probed(self, deployment: Deployment) -> str:
        """Say what the last probes found: of the deployment where it is probed itself, else of its provider."""
        own = next(iter(deployment.health.all()), None)
        whole = next((row for row in deployment.provider.health.all() if row.deployment_id is None), None)
        state = own or whole
        if state is None:
            return "nothing yet"
        took = f", {state.latency_ms:,} ms" if state.latency_ms is not None else ""
        return f"{state.get_status_display()} since {state.since:%Y-%m-%d %H:%M}{took}"

    @admin.display(description="calls say")
    def cooling(self, deployment: Deployment) -> str:
        """Say whether calls are kept away, and for how long."""
        name = deployment.public_id
        standing = self._health.standing(name)
        if standing is not Breaker.OPEN:
            return str(standing.label)
        return f"{standing.label}, {self._health.blocked_for(name):.0f} s left ({self._health.states[name].reason})"

    @admin.display(description="last 24 hours of its provider")
    def history(self, deployment: Deployment) -> str | SafeString:
        """Show uptime and latency hour by hour."""
        now = timezone.now()
        rows = health_history(
            since=now - timedelta(hours=24), until=now, bucket=timedelta(hours=1), provider=deployment.provider
        )
        shown = [
            (
                f"{row.begins_at:%H:00}",
                f"{100 * row.uptime:.1f}",
                "–" if row.latency_ms is None else f"{row.latency_ms:,.0f} ms",
            )
            for row in reversed(rows)
        ]
        lines = format_html_join("", '<tr><td class="pr-4">{}</td><td class="pr-4">{} % up</td><td>{}</td></tr>', shown)
        return format_html("<table>{}</table>", lines) if shown else "no probes yet"


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor
