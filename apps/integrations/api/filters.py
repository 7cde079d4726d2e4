"""Filters of lists."""

from __future__ import annotations

from typing import Any, ClassVar

from django_filters import rest_framework as filters

from apps.core.api.filters import MomentFilter
from apps.integrations.choices import DeliveryState
from apps.integrations.models import WebhookDelivery


class DeliveryFilter(filters.FilterSet):
    """`?state=dead&event_type=…&since=…&until=…`, by the event's time."""

    state = filters.MultipleChoiceFilter(choices=DeliveryState.choices)
    event_type = filters.CharFilter()
    since = MomentFilter(field_name="occurred_at", lookup_expr="gte")
    until = MomentFilter(field_name="occurred_at", lookup_expr="lt")

    class Meta:
        model = WebhookDelivery
        fields: ClassVar[Any] = ("state", "event_type", "since", "until")
