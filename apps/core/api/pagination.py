"""Cursor pages: stable under concurrent inserts, constant cost at any depth."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import pagination
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.errors import InvalidInput


class CursorPagination(pagination.CursorPagination):
    """`?cursor=…&page_size=…` (1–200, default 50); newest first by the key, which carries the time.

    The answer is `{"items": […], "next": url|null, "previous": url|null}`.
    """

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    ordering: Any = "-id"

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        """Return one page of rows. Raise InvalidInput for a position that no row of this list can have."""
        try:
            return super().paginate_queryset(queryset, request, view=view)
        except (ValueError, OverflowError, ValidationError) as error:
            if self.cursor_query_param not in request.query_params:
                raise
            sentence = "This cursor was not made by this list; begin without one."
            raise InvalidInput(f"cursor: {sentence}", errors={"cursor": [sentence]}) from error

    def get_paginated_response(self, data: Any) -> Response:
        """Return one page."""
        return Response({"items": data, "next": self.get_next_link(), "previous": self.get_previous_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the page's JSON Schema."""
        link = {"type": ["string", "null"], "format": "uri", "example": None}
        following = {**link, "example": "https://portico.example/api/v3/things?cursor=cD0yMDI2"}
        return {
            "type": "object",
            "required": ["items", "next", "previous"],
            "properties": {"items": schema, "next": following, "previous": link},
        }
