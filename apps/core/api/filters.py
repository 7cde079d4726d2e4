"""Filters that every list may use."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django_filters import IsoDateTimeFilter
from django_filters.fields import IsoDateTimeField


class MomentField(IsoDateTimeField):
    """A time in UTC. Offsets that Postgres does not know, and times outside its calendar, are refused here."""

    def clean(self, value: Any) -> datetime | None:
        """Return the time, or None; raise ValidationError for what is none."""
        moment: datetime | None = super().clean(value)
        try:
            return moment.astimezone(UTC) if moment else None
        except OverflowError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None


class MomentFilter(IsoDateTimeFilter):
    """By an ISO 8601 time with any offset."""

    field_class = MomentField
