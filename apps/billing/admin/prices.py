"""The price list, for staff, and what a call would cost."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RangeDateTimeFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from apps.billing.choices import ServiceTier
from apps.billing.forms import CostForm, money_field
from apps.billing.models import Price
from apps.billing.selectors.prices import price_history
from apps.billing.services.prices import announce_price
from apps.billing.services.pricing import cost_micros
from apps.core.admin import ModelAdmin
from apps.core.money import show_money

TIER_COLOURS = {
    ServiceTier.STANDARD.label: "success",
    ServiceTier.BATCH.label: "info",
    ServiceTier.FLEX.label: "info",
    ServiceTier.PRIORITY.label: "warning",
}


class ValidityFilter(DropdownFilter):
    """By whether a price counts now, later or no more."""

    title = "validity"
    parameter_name = "validity"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the three."""
        return [("now", "Begun and not ended"), ("later", "Not yet begun"), ("ended", "Ended")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Narrow."""
        now = timezone.now()
        kept = {
            "now": Q(valid_from__lte=now) & (Q(valid_until__isnull=True) | Q(valid_until__gt=now)),
            "later": Q(valid_from__gt=now),
            "ended": Q(valid_until__lte=now),
        }
        return queryset.filter(kept[self.value()]) if self.value() in kept else queryset


@admin.register(Price)
class PriceAdmin(ModelAdmin):
    """The price list. A change is a new row that counts from its moment; an old one may be corrected or ended."""

    list_display: ClassVar[Any] = (
        "model", "provider", "shown_tier", "shown_input", "shown_output", "shown_cached", "shown_long", "valid_from",
        "valid_until",
    )  # fmt: skip
    list_filter: ClassVar[Any] = (
        ValidityFilter, ("service_tier", ChoicesDropdownFilter), "provider", ("valid_from", RangeDateTimeFilter),
    )  # fmt: skip
    list_filter_submit = True
    list_before_template = "billing/admin/price_list.html"
    search_fields: ClassVar[Any] = ("model", "provider")
    search_help_text = "Model or provider"
    ordering: ClassVar[Any] = ("provider", "model", "service_tier", "-valid_from")
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("provider", "model", "service_tier", "valid_from", "valid_until")}),
        (
            "USD per million tokens",
            {
                "fields": (
                    "input_micros", "output_micros", "cached_micros", "cache_write_micros", "cache_write_1h_micros",
                    "reasoning_micros",
                )
            },
        ),
        (
            "Long prompts: a call with more prompt tokens costs these prices altogether, in USD per million tokens",
            {
                "fields": (
                    "long_after_tokens", "long_input_micros", "long_output_micros", "long_cached_micros",
                    "long_cache_write_micros", "long_cache_write_1h_micros",
                )
            },
        ),
    )  # fmt: skip

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Have prices typed in USD."""
        if db_field.name.endswith("_micros"):
            help_text = str(db_field.help_text).replace("Micro-USD", "USD")
            return money_field(db_field, UnfoldAdminDecimalFieldWidget(), help_text=help_text)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a price that was charged stays known. End it instead."""
        return False

    def save_model(self, request: HttpRequest, obj: Price, form: ModelForm[Price], change: bool) -> None:
        """Save and announce, in the one transaction of the page."""
        super().save_model(request, obj, form, change)
        announce_price(price=obj, actor=request.actor)  # type: ignore[attr-defined]

    def get_urls(self) -> list[URLPattern]:
        """Add the page that says what a call would cost."""
        own = path("cost/", self.admin_site.admin_view(self.show_cost), name="billing_price_cost")
        return [own, *super().get_urls()]

    def show_cost(self, request: HttpRequest) -> HttpResponse:
        """Answer what a call of so many tokens would have cost at a moment, and by which price."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = CostForm(request.GET or None)
        context = {
            **self.admin_site.each_context(request),
            "title": "What a call costs",
            "opts": self.opts,
            "form": form,
        }
        if form.is_valid():
            asked = form.cleaned_data
            held = price_history(provider=asked["provider"], model=asked["model"]).find(
                asked["provider"], asked["model"], asked["service_tier"], asked["at"] or timezone.now()
            )
            context["has_answer"] = True
            if held is not None:
                tokens = {name: value or 0 for name, value in asked.items() if name.endswith("_tokens")}
                context["cost"] = show_money(cost_micros(held.card, **tokens))
                context["price"] = Price.objects.get(id=held.id)
                context["is_long"] = (
                    held.card.long_after_tokens is not None and tokens["prompt_tokens"] > held.card.long_after_tokens
                )
        return TemplateResponse(request, "billing/admin/cost.html", context)

    @display(description="Tier", ordering="service_tier", label=TIER_COLOURS)
    def shown_tier(self, price: Price) -> str:
        """Return the service tier."""
        return str(ServiceTier(price.service_tier).label)

    @display(description="Input, per million", ordering="input_micros")
    def shown_input(self, price: Price) -> str:
        """Return the price of prompt tokens."""
        return show_money(price.input_micros)

    @display(description="Output, per million", ordering="output_micros")
    def shown_output(self, price: Price) -> str:
        """Return the price of completion tokens."""
        return show_money(price.output_micros)

    @display(description="Cached input, per million", ordering="cached_micros")
    def shown_cached(self, price: Price) -> str:
        """Return the price of cached prompt tokens."""
        return show_money(price.cached_micros)

    @display(description="Long prompts")
    def shown_long(self, price: Price) -> str:
        """Return from where on prompts are long, and what their input and output cost."""
        if price.long_after_tokens is None:
            return "–"
        prices = (price.long_input_micros, price.input_micros), (price.long_output_micros, price.output_micros)
        shown = " / ".join(show_money(usual if own is None else own) for own, usual in prices)
        return f"above {price.long_after_tokens:,}: {shown}"
