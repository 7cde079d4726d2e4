"""Pages of the trail: a cursor is the last entry's time and id, so that no entry is shown twice or left out."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from apps.audit.models import TrailEntry
from apps.audit.querysets import TrailQuerySet
from apps.core.api.pagination import CursorPagination
from apps.core.errors import InvalidInput

FORWARD, BACKWARD = "f", "b"


class TrailPagination(CursorPagination):
    """Newest first, by (occurred_at, id) over row changes and events alike."""

    ordering = ("-occurred_at", "-id")

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """Return one page; raise InvalidInput for a cursor that this API did not make."""
        trail: TrailQuerySet = queryset
        self.base_url: str = request.build_absolute_uri()
        size = self.get_page_size(request) or self.page_size
        text = request.query_params.get(self.cursor_query_param, "")
        direction, moment, entry_id = _decode(text) if text else (FORWARD, None, None)
        if direction == BACKWARD and moment and entry_id:
            rows = list(trail.before(moment, entry_id).order_by("occurred_at", "id")[: size + 1])
            self.is_more_before, self.is_more_after = len(rows) > size, True
            self.rows: list[TrailEntry] = rows[:size][::-1]
        else:
            older = trail.after(moment, entry_id) if moment and entry_id else trail
            rows = list(older.newest_first()[: size + 1])
            self.is_more_before, self.is_more_after = bool(text), len(rows) > size
            self.rows = rows[:size]
        return self.rows

    def get_next_link(self) -> str | None:
        """Return the page of older entries."""
        return self._link(FORWARD, self.rows[-1]) if self.rows and self.is_more_after else None

    def get_previous_link(self) -> str | None:
        """Return the page of newer entries."""
        return self._link(BACKWARD, self.rows[0]) if self.rows and self.is_more_before else None

    def _link(self, direction: str, entry: TrailEntry) -> str:
        text = f"{direction} {entry.occurred_at.isoformat()} {entry.id}"
        cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        link: str = replace_query_param(self.base_url, self.cursor_query_param, cursor)
        return link


def _decode(cursor: str) -> tuple[str, datetime, UUID]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        direction, moment, entry_id = text.split(" ")
        at = datetime.fromisoformat(moment)
        if direction in {FORWARD, BACKWARD} and at.tzinfo is not None:
            return direction, at.astimezone(UTC), UUID(entry_id)
    except (ValueError, OverflowError, binascii.Error):
        pass
    raise InvalidInput(
        "This cursor was not made by this list; begin without one.", code="invalid_cursor", param="cursor"
    )
