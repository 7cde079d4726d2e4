"""Prices, usage and the books, for staff."""

from __future__ import annotations

import io
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RangeDateTimeFilter, TextFilter
from unfold.decorators import display

from apps.billing.choices import TransactionKind, UsageStatus
from apps.billing.models import Adjustment, LedgerAccount, LedgerTransaction, Posting, UsageHour, UsageRecord
from apps.billing.querysets import UsageRecordQuerySet
from apps.billing.selectors.exporting import flatten_usage, write_csv
from apps.core.admin import ReadOnlyModelAdmin, link_text, link_to
from apps.core.errors import InvalidInput
from apps.core.ids import decode_id
from apps.core.money import show_money
from apps.users.models import ApiKey, Organization, User

MOST_EXPORTED = 100_000
COLUMN_OF_PREFIX = {
    UsageRecord.ID_PREFIX: "id",
    Organization.ID_PREFIX: "organization_id",
    User.ID_PREFIX: "user_id",
    ApiKey.ID_PREFIX: "api_key_id",
}
STATUS_COLOURS = {
    UsageStatus.OK.label: "success",
    UsageStatus.ERROR.label: "danger",
    UsageStatus.CANCELLED.label: "info",
    UsageStatus.INTERRUPTED.label: "warning",
}


def with_organization_name(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Add the name of each row's organization; empty where the organization is gone."""
    named = Organization.objects.filter(pk=OuterRef("organization_id")).values("name")[:1]
    return rows.annotate(organization_name=Subquery(named))


class OrganizationFilter(TextFilter):
    """By the public id or the beginning of the name of an organization."""

    title = "organization (name or org_…)"
    parameter_name = "organization"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow."""
        text = self.value()
        if not text:
            return queryset
        try:
            return queryset.filter(organization_id=Organization.parse_id(text))
        except InvalidInput:
            ids = Organization.objects.filter(name__istartswith=text).values("id")[:100]
            return queryset.filter(organization_id__in=list(ids.values_list("id", flat=True)))


class ModelFilter(DropdownFilter):
    """By a model that was used: the names come from the hourly sums, not from the records."""

    title = "model"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the models in use."""
        names = UsageHour.objects.order_by("model").values_list("model", flat=True).distinct()[:500]
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow."""
        return queryset.filter(model=self.value()) if self.value() else queryset


@admin.register(UsageRecord)
class UsageRecordAdmin(ReadOnlyModelAdmin):
    """Every call, newest first."""

    list_display: ClassVar[Any] = (
        "shown_id", "shown_time", "shown_cost", "shown_tokens", "shown_model", "shown_status", "shown_user",
        "shown_organization", "shown_latency",
    )  # fmt: skip
    list_filter: ClassVar[Any] = (
        ModelFilter, ("status", ChoicesDropdownFilter), OrganizationFilter, ("created_at", RangeDateTimeFilter),
    )  # fmt: skip
    search_fields: ClassVar[Any] = ("id",)
    search_help_text = "Request id (req_…), or the id of a key, user or organization"
    ordering: ClassVar[Any] = ("-created_at", "-id")
    sortable_by: ClassVar[Any] = ("shown_time",)
    actions: ClassVar[Any] = ("export_csv",)
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("shown_id", "shown_time", "recorded_at", "shown_status", "http_status", "error_code")}),
        ("Who", {"fields": ("shown_organization", "team_id", "shown_user", "shown_key", "end_user", "tags")}),
        ("What", {"fields": ("model", "provider", "upstream_model", "endpoint", "service_tier", "upstream_request_id", "is_stream")}),
        (
            "Tokens and cost",
            {
                "fields": (
                    "prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens",
                    "cache_write_1h_tokens", "reasoning_tokens",
                    "is_estimated", "shown_cost", "shown_adjustments", "shown_transaction",
                )
            },
        ),
        ("Time", {"fields": ("latency_ms", "first_token_ms", "attempts")}),
    )  # fmt: skip
    readonly_fields: ClassVar[Any] = (
        "shown_id", "shown_time", "shown_status", "shown_organization", "shown_user", "shown_key", "shown_cost", "shown_transaction",
        "shown_adjustments",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[UsageRecord]:
        """Return the records with the names of whom they belong to."""
        users = User.objects.filter(pk=OuterRef("user_id")).values("email")[:1]
        keys = ApiKey.objects.filter(pk=OuterRef("api_key_id")).values("name")[:1]
        found = with_organization_name(super().get_queryset(request).charged())
        return found.annotate(user_email=Subquery(users), key_name=Subquery(keys))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find by one public id; nothing else is indexed."""
        term = search_term.strip()
        if not term:
            return queryset, False
        prefix = term.rpartition("_")[0] or UsageRecord.ID_PREFIX
        try:
            return queryset.filter(**{COLUMN_OF_PREFIX[prefix]: decode_id(prefix, term)}), False
        except (KeyError, InvalidInput):
            self.message_user(
                request, f"“{term}” is not the id of a request, key, user or organization.", messages.WARNING
            )
            return queryset.none(), False

    @admin.action(description="Export the selected records as CSV", permissions=["view"])
    def export_csv(self, request: HttpRequest, queryset: UsageRecordQuerySet) -> HttpResponse | None:
        """Answer a CSV file with the columns of `manage.py usage_export`."""
        if queryset.order_by().values("pk")[: MOST_EXPORTED + 1].count() > MOST_EXPORTED:
            self.message_user(
                request, f"More than {MOST_EXPORTED:,} records: use manage.py usage_export, or narrow.", messages.ERROR
            )
            return None
        text = io.StringIO()
        write_csv(flatten_usage(queryset.order_by("created_at", "id")), text)
        headers = {"Content-Disposition": 'attachment; filename="usage.csv"'}
        return HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8", headers=headers)

    @display(description="Request", ordering="id")
    def shown_id(self, record: UsageRecord) -> str:
        """Return the id that the caller saw."""
        return record.public_id

    @display(description="Time", ordering="created_at")
    def shown_time(self, record: UsageRecord) -> str:
        """Return when the call was forwarded, to the second."""
        return f"{record.created_at:%Y-%m-%d %H:%M:%S}"

    @display(description="Model")
    def shown_model(self, record: UsageRecord) -> str:
        """Return the model and who served it."""
        return f"{record.model} ({record.provider})"

    @display(description="Tokens")
    def shown_tokens(self, record: UsageRecord) -> str:
        """Return prompt and completion tokens; estimates are marked."""
        return f"{'≈ ' if record.is_estimated else ''}{record.prompt_tokens:,} + {record.completion_tokens:,}"

    @display(description="Latency")
    def shown_latency(self, record: UsageRecord) -> str:
        """Return how long the call took."""
        return f"{record.latency_ms:,} ms"

    @display(description="Status", label=STATUS_COLOURS)
    def shown_status(self, record: UsageRecord) -> str:
        """Return how the call ended."""
        return str(UsageStatus(record.status).label)

    @display(description="Organization")
    def shown_organization(self, record: Any) -> SafeString | str:
        """Return the organization, linked while it exists."""
        exists = record.organization_name is not None
        return link_to(Organization, record.organization_id if exists else None, record.organization_name or "deleted")

    @display(description="User")
    def shown_user(self, record: Any) -> SafeString | str:
        """Return the user, linked while they exist."""
        return link_to(User, record.user_id if record.user_email else None, record.user_email or "")

    @display(description="API key")
    def shown_key(self, record: Any) -> SafeString | str:
        """Return the key, linked while it exists."""
        return link_to(ApiKey, record.api_key_id if record.key_name is not None else None, record.key_name or "")

    @display(description="Cost", ordering="cost_micros")
    def shown_cost(self, record: Any) -> str:
        """Return the cost with its adjustments; what it was before, where there are any."""
        cost = show_money(record.charged_micros, record.currency)
        was = record.cost_micros
        return cost if was == record.charged_micros else f"{cost} (was {show_money(was, record.currency)})"

    @display(description="Adjustments")
    def shown_adjustments(self, record: UsageRecord) -> SafeString | str:
        """Return the adjustments of this call, linked."""
        made = Adjustment.objects.filter(record_id=record.id, created_at=record.created_at).order_by("revision")
        lines = [(link_to(Adjustment, one.pk, show_money(one.amount_micros, one.currency)),) for one in made]
        return format_html_join(SafeString("<br>"), "{}", lines) or "none"

    @display(description="Ledger transaction")
    def shown_transaction(self, record: UsageRecord) -> SafeString | str:
        """Return the transaction that debits this call."""
        return link_to(LedgerTransaction, record.id, "Show the debit")


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyModelAdmin):
    """The accounts with their balances."""

    list_display: ClassVar[Any] = ("public_id", "kind", "shown_organization", "shown_balance", "updated_at")
    list_filter: ClassVar[Any] = (("kind", ChoicesDropdownFilter), OrganizationFilter)
    ordering: ClassVar[Any] = ("-balance_micros", "id")
    fields: ClassVar[Any] = (
        "public_id", "kind", "shown_organization", "currency", "shown_balance", "shown_postings", "updated_at",
    )  # fmt: skip
    readonly_fields: ClassVar[Any] = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerAccount]:
        """Return the accounts with the names of their organizations."""
        return with_organization_name(super().get_queryset(request))

    @display(description="Organization")
    def shown_organization(self, account: Any) -> SafeString | str:
        """Return the owner, linked while it exists."""
        if account.organization_id is None:
            return "Platform"
        exists = account.organization_name is not None
        return link_to(
            Organization, account.organization_id if exists else None, account.organization_name or "deleted"
        )

    @display(description="Balance", ordering="balance_micros")
    def shown_balance(self, account: LedgerAccount) -> str:
        """Return the balance; debits are positive."""
        return show_money(account.balance_micros, account.currency)

    @display(description="Postings")
    def shown_postings(self, account: LedgerAccount) -> SafeString:
        """Return a link to the account's postings."""
        url = reverse("admin:billing_posting_changelist", query={"account__id__exact": account.pk})
        return link_text(url, "Show the postings")


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(ReadOnlyModelAdmin):
    """The movements in the books, newest first."""

    list_display: ClassVar[Any] = ("public_id", "created_at", "kind", "shown_organization")
    list_filter: ClassVar[Any] = (OrganizationFilter, ("created_at", RangeDateTimeFilter))
    ordering: ClassVar[Any] = ("-id",)
    sortable_by: ClassVar[Any] = ()
    fields: ClassVar[Any] = (
        "public_id", "created_at", "recorded_at", "kind", "shown_organization", "shown_record", "shown_postings",
    )  # fmt: skip
    readonly_fields: ClassVar[Any] = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerTransaction]:
        """Return the transactions with the names of their organizations."""
        return with_organization_name(super().get_queryset(request))

    @display(description="Organization")
    def shown_organization(self, booked: Any) -> SafeString | str:
        """Return the organization, linked while it exists."""
        exists = booked.organization_name is not None
        return link_to(Organization, booked.organization_id if exists else None, booked.organization_name or "deleted")

    @display(description="For")
    def shown_record(self, booked: LedgerTransaction) -> SafeString | str:
        """Return the call, or the adjustment, that this transaction debits."""
        if booked.kind == TransactionKind.ADJUSTMENT:
            return link_to(Adjustment, booked.id, "Show the adjustment")
        return link_to(UsageRecord, booked.id, "Show the call")

    @display(description="Postings")
    def shown_postings(self, booked: LedgerTransaction) -> SafeString:
        """Return every posting with its account and amount."""
        postings = Posting.objects.filter(transaction_id=booked.id, created_at=booked.created_at)
        rows = postings.select_related("account").order_by(F("amount_micros").desc())
        return format_html_join(
            SafeString("<br>"),
            "{} {}",
            (
                (
                    show_money(posting.amount_micros, posting.account.currency),
                    link_to(LedgerAccount, posting.account_id, posting.account.get_kind_display()),
                )
                for posting in rows
            ),
        )


@admin.register(Posting)
class PostingAdmin(ReadOnlyModelAdmin):
    """The postings of an account, newest first."""

    list_display: ClassVar[Any] = ("id", "created_at", "shown_amount", "account", "shown_transaction")
    list_select_related: ClassVar[Any] = ("account",)
    list_filter: ClassVar[Any] = (("created_at", RangeDateTimeFilter),)
    ordering: ClassVar[Any] = ("-id",)
    sortable_by: ClassVar[Any] = ()
    fields: ClassVar[Any] = ("id", "created_at", "shown_amount", "account", "shown_transaction")
    readonly_fields: ClassVar[Any] = fields

    @display(description="Amount")
    def shown_amount(self, posting: Posting) -> str:
        """Return the signed amount; debits are positive."""
        return show_money(posting.amount_micros, posting.account.currency)

    @display(description="Transaction")
    def shown_transaction(self, posting: Posting) -> SafeString | str:
        """Return the transaction that it belongs to."""
        return link_to(LedgerTransaction, posting.transaction_id, "Show the transaction")
