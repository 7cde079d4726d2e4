"""Budgets for staff: what is spent of each, changes, temporary increases, and earlier windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminSelectWidget

from apps.billing.admin.books import OrganizationFilter, with_organization_name
from apps.billing.forms import money_field
from apps.billing.models import Budget, BudgetPeriod
from apps.billing.selectors.budgets import PREFIXES, describe_budgets, show_subject
from apps.billing.services.budgets import create_budget, delete_budget, update_budget
from apps.core.actor import Actor, system_actor
from apps.core.admin import ModelAdmin, link_to
from apps.core.errors import InvalidInput
from apps.core.ids import decode_id
from apps.core.money import show_money
from apps.users.models import Organization

LIMITS = ("soft_micros", "hard_micros", "boost_micros")
MONEY_HELP = {
    "soft_micros": "Such as 80 for 80 USD. Passing it is only told.",
    "hard_micros": "Such as 100 for 100 USD. Never passed: calls that do not fit are refused.",
    "boost_micros": "Such as 20 for 20 USD. Added to both limits until the moment below.",
}
CHANGEABLE = ("name", *LIMITS, "boost_until", "is_active")
COUNTED = ("organization", "scope", "subject", "model", "window", "currency")
MOST_PERIODS = 24


class BudgetForm(forms.ModelForm):
    """A budget; its subject by public id. What a budget counts is only asked for when it is made."""

    organization = forms.ModelChoiceField(
        Organization.objects.order_by("name"),
        widget=UnfoldAdminSelectWidget,
        error_messages={"required": "Choose whose budget it is."},
    )

    class Meta:
        model = Budget
        fields = ("name", "scope", "subject", "model", "window", *LIMITS, "boost_until", "currency", "is_active")
        help_texts: ClassVar[dict[str, str]] = {
            "subject": "Public id of a team, user or key; name of an end user, tag or model; empty: each one separately.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["organization"].required = self.instance._state.adding

    def clean(self) -> dict[str, Any]:
        """Turn the subject into the id that usage records have; refuse what makes no budget."""
        found = super().clean() or {}
        if not self.instance._state.adding:
            return found
        if found.get("organization") is not None:
            self.instance.organization_id = found["organization"].id
        prefix = PREFIXES.get(found.get("scope", ""))
        if prefix is not None and found.get("subject"):
            try:
                found["subject"] = str(decode_id(prefix, found["subject"]))
            except InvalidInput as error:
                self.add_error("subject", error.message)
        return found


@admin.register(Budget)
class BudgetAdmin(ModelAdmin):
    """Every budget with how much of it is spent. What a budget counts stays as it began: make a new one instead."""

    form = BudgetForm
    list_display: ClassVar[Any] = (
        "name", "shown_organization", "shown_scope", "window", "shown_limit", "spent", "boost", "is_active",
    )  # fmt: skip
    list_filter: ClassVar[Any] = ("scope", "window", "is_active", OrganizationFilter)
    list_filter_submit = True
    search_fields: ClassVar[Any] = ("name", "subject", "model")
    ordering: ClassVar[Any] = ("-id",)
    list_per_page = 50

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("billing/budgets.css",)}

    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("name", *COUNTED, "is_active")}),
        ("Limits, in the currency's unit", {"fields": ("soft_micros", "hard_micros")}),
        ("Temporary increase of both", {"fields": ("boost_micros", "boost_until")}),
        ("Spending", {"fields": ("standing", "history")}),
    )
    readonly_fields: ClassVar[Any] = ("standing", "history")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Have amounts typed in the currency's unit."""
        if db_field.name in LIMITS:
            return money_field(db_field, UnfoldAdminDecimalFieldWidget(), help_text=MONEY_HELP[db_field.name])
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        return with_organization_name(super().get_queryset(request))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.readonly_fields
        fixed = ("shown_organization", "scope", "shown_subject", "model", "window", "currency")
        return (*self.readonly_fields, *fixed)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fieldsets[:3]
        counted = ("shown_organization", "scope", "shown_subject", "model", "window", "currency")
        return ((None, {"fields": ("name", *counted, "is_active")}), *self.fieldsets[1:])

    @display(description="Organization", ordering="organization_name")
    def shown_organization(self, budget: Any) -> SafeString | str:
        """Return a link to whose budget it is."""
        return link_to(Organization, budget.organization_id, budget.organization_name or str(budget.organization_id))

    @display(description="For")
    def shown_scope(self, budget: Budget) -> str:
        """Say whose or what spending counts."""
        whose = budget.get_scope_display()
        subject = show_subject(budget.scope, budget.subject)
        if budget.scope != "organization":
            in_a_sentence = whose if whose[:2].isupper() else whose.lower()
            whose = f"{whose} {subject}" if subject else f"Each {in_a_sentence}"
        return f"{whose}, {budget.model} only" if budget.model else whose

    @display(description="Subject")
    def shown_subject(self, budget: Budget) -> str:
        """Return the subject as people meet it."""
        return show_subject(budget.scope, budget.subject) or "each one separately"

    @display(description="Limit", ordering="hard_micros")
    def shown_limit(self, budget: Budget) -> str:
        """Return the hard limit, or the soft one, as it holds now."""
        now = timezone.now()
        hard = budget.hard_at(now)
        if hard is not None:
            return show_money(hard, budget.currency)
        return f"{show_money(budget.soft_at(now) or 0, budget.currency)} (soft)"

    @display(description="Spent now")
    def spent(self, budget: Budget) -> str:
        """Draw how much of the limit is spent and reserved in the running window, by who spent most of it."""
        return self._bars(budget, most=1)

    @display(description="Increase")
    def boost(self, budget: Budget) -> str:
        """Say what is added at the moment, and until when."""
        micros = budget.boost_at(timezone.now())
        if not micros or budget.boost_until is None:
            return "–"
        return f"+{show_money(micros, budget.currency)} until {budget.boost_until:%d %b %H:%M} UTC"

    @display(description="Running window")
    def standing(self, budget: Budget) -> str:
        """Draw the running window, for a budget of each one separately of those that spent most."""
        return self._bars(budget)

    @display(description="Earlier windows")
    def history(self, budget: Budget) -> SafeString | str:
        """List earlier windows, newest first."""
        rows = BudgetPeriod.objects.filter(budget=budget, ends_at__lte=timezone.now()).order_by("-starts_at", "subject")
        return format_html_join(
            "",
            '<div class="tabular-nums">{} · {}{}</div>',
            (
                (f"{row.starts_at:%Y-%m-%d}", show_money(row.spent_micros, budget.currency), self._of(budget, row.subject))
                for row in rows[:MOST_PERIODS]
            ),
        ) or "none yet"  # fmt: skip

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        actor = staff_actor(request)
        given = form.cleaned_data
        if change:
            update_budget(actor=actor, budget_id=obj.id, changes={name: given[name] for name in CHANGEABLE})
            return
        fields = {name: given[name] for name in (*CHANGEABLE, "scope", "subject", "model", "window", "currency")}
        made = create_budget(actor=actor, organization_id=given["organization"].id, **fields)
        obj.id, obj._state.adding = made.id, False

    def delete_model(self, request: HttpRequest, obj: Budget) -> None:
        delete_budget(actor=staff_actor(request), budget_id=obj.id)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Budget]) -> None:
        for budget in queryset.order_by("id"):
            self.delete_model(request, budget)

    def _bars(self, budget: Budget, *, most: int | None = None) -> str:
        (status,) = describe_budgets([budget], actor=system_actor())
        limit = max(status.limit_micros, 1)
        bars = [
            {
                "subject": spending.subject if not budget.subject else "",
                "spent": show_money(spending.spent_micros, budget.currency),
                "reserved": show_money(spending.reserved_micros, budget.currency) if spending.reserved_micros else "",
                "left": show_money(spending.left_micros, budget.currency),
                "percent": spending.percent,
                "spent_width": min(spending.spent_micros * 100 // limit, 100),
                "end": min((spending.spent_micros + spending.reserved_micros) * 100 // limit, 100),
                "forecast": spending.forecast
                and show_money(_about(spending.forecast.expected_micros), budget.currency),
                "resets": spending.ends_at,
            }
            for spending in status.spendings[:most]
        ]
        return render_to_string("billing/budget_bars.html", {"bars": bars, "is_short": most is not None})

    @staticmethod
    def _of(budget: Budget, subject: str) -> str:
        return "" if budget.subject or not subject else f" · {show_subject(budget.scope, subject)}"


def _about(micros: int) -> int:
    """Round to whole cents; what is less than that to two digits, so that it is not shown as nothing."""
    return round(micros, -max(min(4, len(str(micros)) - 2), 0))


def staff_actor(request: HttpRequest) -> Actor:
    """Return the member of staff as the platform: for every organization, under the own name."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return replace(system_actor(request_id=actor.request_id), user_id=actor.user_id)
