"""What the trail can be asked for."""

from __future__ import annotations

from django_filters import rest_framework as filters

from apps.audit.choices import Source
from apps.audit.models import TrailEntry
from apps.audit.querysets import TrailQuerySet
from apps.core.api.filters import MomentFilter


class TrailFilter(filters.FilterSet):
    """Every filter narrows what the others left."""

    source = filters.ChoiceFilter(choices=Source.choices, help_text="Row changes or domain events only.")
    type = filters.CharFilter(
        method="keep_type", help_text="Event type (`price.changed`), table (`users_apikey`) or `users_apikey.updated`."
    )
    action = filters.CharFilter(help_text="`created`, `updated`, `deleted`, `truncated`, or an event's participle.")
    object = filters.CharFilter(method="keep_object", help_text="Public id of what was changed, for example `key_01…`.")
    actor = filters.CharFilter(method="keep_actor", help_text="Public id of the user or key, or an OAuth client's id.")
    request_id = filters.CharFilter(help_text="The X-Request-Id of an answer.")
    since = MomentFilter(field_name="occurred_at", lookup_expr="gte", help_text="Beginning, ISO 8601.")
    until = MomentFilter(field_name="occurred_at", lookup_expr="lt", help_text="End, exclusive.")
    search = filters.CharFilter(
        method="keep_words", help_text="Words that all occur in the type, ids, actor, before, after or payload."
    )

    class Meta:
        model = TrailEntry
        fields: tuple[str, ...] = ()

    def keep_type(self, queryset: TrailQuerySet, name: str, value: str) -> TrailQuerySet:
        """Keep one type."""
        return queryset.of_type(value)

    def keep_object(self, queryset: TrailQuerySet, name: str, value: str) -> TrailQuerySet:
        """Keep what happened to one object."""
        return queryset.of_object(value)

    def keep_actor(self, queryset: TrailQuerySet, name: str, value: str) -> TrailQuerySet:
        """Keep what one caller did."""
        return queryset.by(value)

    def keep_words(self, queryset: TrailQuerySet, name: str, value: str) -> TrailQuerySet:
        """Keep what all words occur in."""
        return queryset.search(value)
