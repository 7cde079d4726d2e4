"""Filters of the list of conversations."""

from __future__ import annotations

from typing import Any

import django_filters

from apps.conversations.models import TITLE_LENGTH, Conversation
from apps.core.api.filters import MomentFilter


class ConversationFilter(django_filters.FilterSet):
    """`?search=` words of the title, `?model=`, and `?since=`, `?until=` for the last message."""

    search = django_filters.CharFilter(method="filter_title", max_length=TITLE_LENGTH, label="Words of the title.")
    model = django_filters.CharFilter(max_length=160, label="Model of the last answer.")
    since = MomentFilter("last_message_at", lookup_expr="gte", label="Last message at or after.")
    until = MomentFilter("last_message_at", lookup_expr="lt", label="Last message before.")

    class Meta:
        model = Conversation
        fields: list[str] = []

    def filter_title(self, queryset: Any, name: str, value: str) -> Any:
        """Keep the conversations whose title has every word."""
        return queryset.titled_like(value)
