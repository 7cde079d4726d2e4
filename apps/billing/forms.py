"""What the pages of usage ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import Field

from apps.billing.choices import ServiceTier, UsageGroup, UsageStatus
from apps.billing.selectors.usage import FILTERS, ONLY_IN_RECORDS, UsageQuery, current_period
from apps.core.errors import InvalidInput
from apps.core.money import from_micros, to_micros
from apps.users.models import ApiKey, Organization, Team, User

DAY = timedelta(days=1)
LONGEST_DAYS = 366
MOST_TOKENS = 100_000_000
LONGEST_DAYS_OF_RECORDS = 93
PERIODS = [
    ("month", "This month"),
    ("last-month", "Last month"),
    ("7", "7 days"),
    ("30", "30 days"),
    ("90", "90 days"),
]
MEASURES = [("cost", "Cost"), ("tokens", "Tokens"), ("requests", "Requests")]
KINDS = {"key": ApiKey, "user": User, "team": Team}


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days (UTC), `since <= time < until`."""

    since: datetime
    until: datetime


def period_of(name: str, now: datetime | None = None) -> Period:
    """Return one of PERIODS, ending with today; the running month for anything else."""
    moment = now or datetime.now(UTC)
    midnight = datetime.combine(moment.astimezone(UTC).date(), time(), UTC)
    month, _ = current_period(moment)
    if name.isdigit() and (name in dict(PERIODS)):
        return Period(midnight - (int(name) - 1) * DAY, midnight + DAY)
    if name == "last-month":
        return Period((month - DAY).replace(day=1), month)
    return Period(month, midnight + DAY)


class MoneyField(forms.DecimalField):
    """An amount that people type in the currency's unit, and that is kept in micro-units: 2.5 is 2,500,000."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"min_value": 0, "max_digits": 18, "decimal_places": 6} | options)

    def prepare_value(self, value: Any) -> Any:
        """Return kept micro-units as they are typed, with two places or as many as they need; what was typed as it is."""
        if not isinstance(value, int):
            return value
        whole, _, places = f"{from_micros(value):f}".partition(".")
        return f"{whole}.{places.rstrip('0').ljust(2, '0')}"

    def clean(self, value: Any) -> int | None:
        """Return micro-units; None for nothing. Raises ValidationError for what is no amount."""
        amount: Decimal | None = super().clean(value)
        return None if amount is None else to_micros(amount)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Say whether the typed amount is another than the kept one."""
        return super().has_changed(from_micros(initial) if isinstance(initial, int) else initial, data)


def money_field(field: Field[Any, Any], widget: forms.Widget, *, help_text: str | None = None) -> MoneyField:
    """Return the form field of a column of micro-units."""
    return MoneyField(
        label=str(field.verbose_name).capitalize(),
        required=not field.blank,
        help_text=field.help_text if help_text is None else help_text,
        initial=field.get_default(),
        widget=widget,
    )


def _hinted(hint: str) -> forms.TextInput:
    return forms.TextInput(attrs={"placeholder": hint})


class ExplorerForm(forms.Form):
    """Period, respects and filters of the usage explorer."""

    period = forms.ChoiceField(choices=[*PERIODS, ("custom", "From … to …")], required=False)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    by = forms.ChoiceField(label="By", choices=UsageGroup.choices, required=False, initial=UsageGroup.MODEL)
    then = forms.ChoiceField(label="Then by", choices=[("", "–"), *UsageGroup.choices], required=False)
    show = forms.ChoiceField(label="Chart", choices=MEASURES, required=False)
    organization = forms.CharField(required=False, max_length=200, widget=_hinted("org_…"))
    model = forms.CharField(required=False, max_length=200)
    provider = forms.CharField(required=False, max_length=64)
    key = forms.CharField(label="API key", required=False, max_length=64, widget=_hinted("key_…"))
    user = forms.CharField(required=False, max_length=64, widget=_hinted("user_…"))
    team = forms.CharField(required=False, max_length=64, widget=_hinted("team_…"))
    tag = forms.CharField(required=False, max_length=64)
    end_user = forms.CharField(required=False, max_length=256)
    endpoint = forms.CharField(required=False, max_length=64)
    status = forms.ChoiceField(choices=[("", "–"), *UsageStatus.choices], required=False)

    def clean_organization(self) -> object:
        """Return the organization's id, or None for all."""
        return self._clean_id("organization", Organization.parse_id)

    def clean_key(self) -> object:
        """Return the key's id."""
        return self._clean_id("key", ApiKey.parse_id)

    def clean_user(self) -> object:
        """Return the user's id."""
        return self._clean_id("user", User.parse_id)

    def clean_team(self) -> object:
        """Return the team's id."""
        return self._clean_id("team", Team.parse_id)

    def clean(self) -> dict[str, object]:
        """Add `query`, the UsageQuery that is meant."""
        found = super().clean() or self.cleaned_data
        period = self._period(found)
        group_by = tuple(dict.fromkeys(by for by in (found.get("by") or UsageGroup.MODEL, found.get("then")) if by))
        filters = {name: [value] for name in FILTERS if (value := found.get(name))}
        query = UsageQuery(since=period.since, until=period.until, group_by=group_by, filters=filters)
        days = (period.until - period.since) // DAY
        if days > (LONGEST_DAYS_OF_RECORDS if query.needs_records else LONGEST_DAYS):
            by_records = ", ".join(sorted(str(UsageGroup(name).label).lower() for name in ONLY_IN_RECORDS))
            self.add_error(
                None,
                f"At most {LONGEST_DAYS} days are shown at once, and {LONGEST_DAYS_OF_RECORDS} by {by_records}.",
            )
        found["query"] = query
        return found

    def _period(self, found: dict[str, object]) -> Period:
        first, last = found.get("since"), found.get("until")
        if found.get("period") != "custom" or not isinstance(first, date) or not isinstance(last, date):
            return period_of(str(found.get("period") or ""))
        if first > last:
            self.add_error("until", "The period ends before it begins.")
            last = first
        return Period(datetime.combine(first, time(), UTC), datetime.combine(last, time(), UTC) + DAY)

    def _clean_id(self, name: str, parse: Callable[[str], object]) -> object:
        text = self.cleaned_data[name].strip()
        if not text:
            return None
        try:
            return parse(text)
        except InvalidInput as error:
            raise forms.ValidationError(error.message) from error


class CostForm(forms.Form):
    """A call of which the cost is asked."""

    provider = forms.CharField(max_length=64, help_text="Slug")
    model = forms.CharField(max_length=200, help_text="Name at the provider")
    service_tier = forms.ChoiceField(label="Tier", choices=ServiceTier.choices, initial=ServiceTier.STANDARD)
    at = forms.DateTimeField(
        label="At (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="Empty: now",
    )
    prompt_tokens = forms.IntegerField(min_value=0, max_value=MOST_TOKENS, initial=1000)
    completion_tokens = forms.IntegerField(min_value=0, max_value=MOST_TOKENS, initial=500)
    cached_tokens = forms.IntegerField(
        label="of the prompt, cached", min_value=0, max_value=MOST_TOKENS, required=False
    )
    cache_write_tokens = forms.IntegerField(
        label="of the prompt, written to a cache", min_value=0, max_value=MOST_TOKENS, required=False
    )
    cache_write_1h_tokens = forms.IntegerField(
        label="of these, for an hour", min_value=0, max_value=MOST_TOKENS, required=False
    )
    reasoning_tokens = forms.IntegerField(
        label="of the answer, reasoning", min_value=0, max_value=MOST_TOKENS, required=False
    )
