"""Adjustments of what calls cost, the runs that made them, and comparisons with providers' bills: for reading."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateTimeFilter
from unfold.decorators import display

from apps.billing.admin.books import OrganizationFilter
from apps.billing.choices import Verdict
from apps.billing.models import (
    Adjustment,
    LedgerTransaction,
    Price,
    Reconciliation,
    ReconciliationLine,
    Repricing,
    UsageRecord,
)
from apps.core.admin import ReadOnlyModelAdmin, link_text, link_to
from apps.core.money import show_money

VERDICT_COLOURS = {
    Verdict.AGREES.label: "success",
    Verdict.DIFFERS.label: "danger",
    Verdict.NOT_RECORDED.label: "danger",
    Verdict.NOT_BILLED.label: "warning",
}


@admin.register(Adjustment)
class AdjustmentAdmin(ReadOnlyModelAdmin):
    """What calls were charged more or less afterwards."""

    list_display: ClassVar[Any] = (
        "public_id", "created_at", "model", "provider", "shown_old", "shown_new", "shown_amount", "shown_record",
    )  # fmt: skip
    list_filter: ClassVar[Any] = (OrganizationFilter, ("created_at", RangeDateTimeFilter))
    ordering: ClassVar[Any] = ("-created_at", "id")
    sortable_by: ClassVar[Any] = ()
    fields: ClassVar[Any] = (
        "public_id", "created_at", "recorded_at", "model", "provider", "revision", "shown_old", "shown_new", "shown_amount",
        "shown_record", "shown_price", "shown_run", "shown_transaction",
    )  # fmt: skip
    readonly_fields: ClassVar[Any] = fields

    @display(description="Cost before")
    def shown_old(self, made: Adjustment) -> str:
        """Return what the call had cost."""
        return show_money(made.old_cost_micros, made.currency)

    @display(description="Cost now")
    def shown_new(self, made: Adjustment) -> str:
        """Return what the call costs."""
        return show_money(made.new_cost_micros, made.currency)

    @display(description="Difference")
    def shown_amount(self, made: Adjustment) -> str:
        """Return what was booked."""
        return show_money(made.amount_micros, made.currency)

    @display(description="Call")
    def shown_record(self, made: Adjustment) -> SafeString | str:
        """Return the call."""
        return link_to(UsageRecord, made.record_id, "Show the call")

    @display(description="Price")
    def shown_price(self, made: Adjustment) -> SafeString | str:
        """Return the price that counted."""
        return link_to(Price, made.price_id, "Show the price")

    @display(description="Repricing")
    def shown_run(self, made: Adjustment) -> SafeString | str:
        """Return the run that made it."""
        return link_to(Repricing, made.repricing_id, "Show the repricing")

    @display(description="Ledger transaction")
    def shown_transaction(self, made: Adjustment) -> SafeString | str:
        """Return the transaction that books it."""
        return link_to(LedgerTransaction, made.id, "Show the debit")


@admin.register(Repricing)
class RepricingAdmin(ReadOnlyModelAdmin):
    """Runs of `manage.py reprice`, newest first."""

    list_display: ClassVar[Any] = (
        "public_id", "since", "until", "provider", "model", "records", "adjusted", "shown_amount", "shown_state",
    )  # fmt: skip
    ordering: ClassVar[Any] = ("-id",)
    sortable_by: ClassVar[Any] = ()
    fields: ClassVar[Any] = (
        "public_id", "created_at", "finished_at", "shown_state", "since", "until", "provider", "model", "records",
        "adjusted", "shown_amount", "shown_adjustments",
    )  # fmt: skip
    readonly_fields: ClassVar[Any] = fields

    @display(description="Difference")
    def shown_amount(self, run: Repricing) -> str:
        """Return what was booked in all."""
        return show_money(run.amount_micros)

    @display(description="State", label={"Finished": "success", "Not finished": "warning"})
    def shown_state(self, run: Repricing) -> str:
        """Return whether it came to its end; one that did not is finished by running it again."""
        return "Finished" if run.finished_at else "Not finished"

    @display(description="Adjustments")
    def shown_adjustments(self, run: Repricing) -> SafeString:
        """Return a link to what it adjusted."""
        url = reverse("admin:billing_adjustment_changelist", query={"repricing_id__exact": run.pk})
        return link_text(url, "Show the adjustments")


@admin.register(Reconciliation)
class ReconciliationAdmin(ReadOnlyModelAdmin):
    """Comparisons with bills, newest first."""

    list_display: ClassVar[Any] = (
        "public_id", "created_at", "provider", "form", "first_day", "last_day", "shown_bill", "shown_own", "compared",
        "shown_state",
    )  # fmt: skip
    list_filter: ClassVar[Any] = ("provider", ("form", ChoicesDropdownFilter))
    ordering: ClassVar[Any] = ("-id",)
    sortable_by: ClassVar[Any] = ()
    fields: ClassVar[Any] = (
        "public_id", "created_at", "provider", "form", "file_name", "first_day", "last_day", "tolerance_percent",
        "compared", "shown_state", "shown_bill", "shown_own", "shown_lines",
    )  # fmt: skip
    readonly_fields: ClassVar[Any] = fields

    @display(description="Billed")
    def shown_bill(self, found: Reconciliation) -> str:
        """Return what the bill says; nothing for a bill without costs."""
        return "–" if found.bill_cost_micros is None else show_money(found.bill_cost_micros, found.currency)

    @display(description="Recorded")
    def shown_own(self, found: Reconciliation) -> str:
        """Return what was recorded of the same days."""
        return show_money(found.own_cost_micros, found.currency)

    @display(description="Verdict", label={"Agrees": "success", "Differs": "danger"})
    def shown_state(self, found: Reconciliation) -> str:
        """Return whether both agree."""
        return "Agrees" if found.is_clean else "Differs"

    @display(description="Lines")
    def shown_lines(self, found: Reconciliation) -> SafeString:
        """Return a link to the lines."""
        url = reverse("admin:billing_reconciliationline_changelist", query={"reconciliation__id__exact": found.pk})
        return link_text(url, f"Show the lines; {found.differences} differ")


@admin.register(ReconciliationLine)
class ReconciliationLineAdmin(ReadOnlyModelAdmin):
    """The lines of a comparison: days and models, or requests."""

    list_display: ClassVar[Any] = (
        "day", "model", "request_id", "shown_verdict", "shown_prompt", "shown_completion", "shown_cost", "reconciliation",
    )  # fmt: skip
    list_select_related: ClassVar[Any] = ("reconciliation",)
    list_filter: ClassVar[Any] = (("verdict", ChoicesDropdownFilter),)
    ordering: ClassVar[Any] = ("-reconciliation_id", "id")
    sortable_by: ClassVar[Any] = ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Refuse: lines are reached from their comparison."""
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow the link of a comparison to its lines."""
        return lookup == "reconciliation__id__exact" or super().lookup_allowed(lookup, value, request)

    @display(description="Verdict", label=VERDICT_COLOURS)
    def shown_verdict(self, line: ReconciliationLine) -> str:
        """Return what was found."""
        return str(Verdict(line.verdict).label)

    @display(description="Tokens in, billed / recorded")
    def shown_prompt(self, line: ReconciliationLine) -> str:
        """Return both counts."""
        return _beside(line.bill_prompt_tokens, line.own_prompt_tokens)

    @display(description="Tokens out, billed / recorded")
    def shown_completion(self, line: ReconciliationLine) -> str:
        """Return both counts."""
        return _beside(line.bill_completion_tokens, line.own_completion_tokens)

    @display(description="Cost, billed / recorded")
    def shown_cost(self, line: ReconciliationLine) -> str:
        """Return both costs."""
        billed = "–" if line.bill_cost_micros is None else show_money(line.bill_cost_micros)
        return f"{billed} / {show_money(line.own_cost_micros)}"


def _beside(billed: int | None, own: int) -> str:
    return f"{'–' if billed is None else f'{billed:,}'} / {own:,}"
