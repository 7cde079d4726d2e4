"""Cache policies for staff: who gets answers again, how often it happens, what it saves; and the purge."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget

from apps.core.actor import Actor
from apps.core.admin import ModelAdmin
from apps.core.money import from_micros
from apps.gateway.choices import Capability
from apps.gateway.models import CachePolicy, Model
from apps.gateway.services.caching.policies import delete_cache_policy, purge_cache, save_cache_policy

DAYS = 30
SUBJECT = ("organization", "team", "api_key")


class CachePolicyForm(forms.ModelForm):
    """A policy whose embedding model is one of the catalogue's."""

    embedding_model = forms.ChoiceField(
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="Turns questions into vectors; each question that is not found word for word costs an embeddings call.",
    )

    class Meta:
        model = CachePolicy
        fields = (
            *SUBJECT, "is_exact", "is_semantic", "ttl_seconds", "scope", "max_temperature", "hit_price_percent",
            "embedding_model", "similarity",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = Model.objects.filter(is_active=True, capabilities__contains=[Capability.EMBEDDINGS]).order_by("name")
        choices = [("", "none"), *((name, name) for name in names.values_list("name", flat=True))]
        chosen = self.instance.embedding_model
        if chosen and chosen not in dict(choices):
            choices.append((chosen, f"{chosen} (not offered)"))
        field: Any = self.fields["embedding_model"]
        field.choices = choices


@admin.register(CachePolicy)
class CachePolicyAdmin(ModelAdmin):
    form = CachePolicyForm
    list_display: ClassVar[Any] = (
        "subject", "organization", "is_exact", "is_semantic", "ttl", "hit_rate", "hits", "saved", "hit_price",
    )  # fmt: skip
    list_filter: ClassVar[Any] = ("is_exact", "is_semantic", "scope")
    list_select_related: ClassVar[Any] = ("organization", "team", "api_key")
    search_fields: ClassVar[Any] = ("organization__name", "team__name", "api_key__name")
    ordering: ClassVar[Any] = ("organization__name", "id")
    autocomplete_fields: ClassVar[Any] = SUBJECT
    readonly_fields: ClassVar[Any] = ("record",)
    fieldsets: ClassVar[Any] = (
        (
            "For whom",
            {
                "fields": SUBJECT,
                "description": "Without team and key the policy is the whole organization's. The narrowest holds: key "
                "before team before organization. One that caches neither way switches the cache off.",
            },
        ),
        (
            "What",
            {"fields": ("is_exact", "is_semantic", "ttl_seconds", "scope", "max_temperature", "hit_price_percent")},
        ),
        ("By meaning", {"fields": ("embedding_model", "similarity")}),
        (f"The last {DAYS} days", {"fields": ("record",)}),
    )
    actions: ClassVar[Any] = ("purge",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[CachePolicy]:
        return CachePolicy.objects.with_totals(timezone.now().date() - timedelta(days=DAYS - 1))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.readonly_fields, *SUBJECT) if obj else self.readonly_fields

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj else self.fieldsets[:-1]

    @admin.display(description="for", ordering="organization__name")
    def subject(self, policy: CachePolicy) -> str:
        """Return whom the policy is for."""
        if policy.api_key is not None:
            return f"key {policy.api_key.name}"
        return f"team {policy.team.name}" if policy.team is not None else "the organization"

    @admin.display(description="kept for", ordering="ttl_seconds")
    def ttl(self, policy: CachePolicy) -> str:
        """Return the time to live in words."""
        seconds = policy.ttl_seconds
        for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
            if seconds >= length:
                return f"{seconds / length:.3g} {unit}"
        return f"{seconds} s"

    @admin.display(description="hit rate", ordering="hits")
    def hit_rate(self, policy: Any) -> str:
        """Return the share of calls that were answered from the cache."""
        asked = policy.hits + policy.misses
        return f"{100 * policy.hits / asked:.1f} %" if asked else "–"

    @admin.display(description="hits", ordering="hits")
    def hits(self, policy: Any) -> str:
        """Return the hits, and how many of them were found by meaning."""
        return f"{policy.hits:,} ({policy.semantic_hits:,} by meaning)" if policy.semantic_hits else f"{policy.hits:,}"

    @admin.display(description="saved (USD)", ordering="saved_micros")
    def saved(self, policy: Any) -> str:
        """Return what the hits would have cost beyond their price."""
        return f"{from_micros(policy.saved_micros):,.6f}"

    @admin.display(description="a hit costs", ordering="hit_price_percent")
    def hit_price(self, policy: CachePolicy) -> str:
        """Return the price of a hit."""
        return f"{policy.hit_price_percent} %" if policy.hit_price_percent else "nothing"

    @admin.display(description="by day")
    def record(self, policy: CachePolicy) -> SafeString | str:
        """Show what each day has brought, the newest first."""
        rows = [
            (day.day, f"{day.hits:,}", f"{day.semantic_hits:,}", f"{day.misses:,}", from_micros(day.saved_micros))
            for day in policy.days.order_by("-day")[:DAYS]
        ]
        if not rows:
            return "No call has asked this cache yet."
        lines = format_html_join(
            "", "<tr>" + "<td class='pr-6 py-1 text-right tabular-nums'>{}</td>" * 5 + "</tr>", rows
        )
        return format_html(
            "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>",
            format_html_join(
                "",
                "<th class='pr-6 py-1 text-right font-medium'>{}</th>",
                (("Day",), ("Hits",), ("By meaning",), ("Misses",), ("Saved (USD)",)),
            ),
            lines,
        )

    def save_model(self, request: HttpRequest, obj: CachePolicy, form: Any, change: bool) -> None:
        save_cache_policy(policy=obj, actor=_actor(request))

    def delete_model(self, request: HttpRequest, obj: CachePolicy) -> None:
        delete_cache_policy(policy=obj, actor=_actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[CachePolicy]) -> None:
        for policy in queryset:
            delete_cache_policy(policy=policy, actor=_actor(request))

    @admin.action(description="Purge what is cached", permissions=["change"])
    def purge(self, request: HttpRequest, queryset: QuerySet[CachePolicy]) -> None:
        """Forget every cached answer of these policies."""
        policies = list(queryset)
        for policy in policies:
            purge_cache(policy=policy, actor=_actor(request))
        self.message_user(request, f"The caches of {len(policies)} policies are empty.", messages.SUCCESS)


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor
