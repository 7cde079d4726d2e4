"""Bases of /api/v3 views: the actor, the scope of each verb, one order of doing things."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.views import SpectacularAPIView
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.actor import ANONYMOUS, Actor


class ActorMixin:
    """Gives a view its actor and states what the verbs need.

    `scopes` maps HTTP methods to scopes (`conversations:read`); a method that is missing is refused for keys and tokens.
    `is_open` marks a view that answers the anonymous. `rate_limits` maps methods to requests a minute of one caller,
    where they differ from PORTICO_API_LIMITS' `route`.
    """

    scopes: ClassVar[dict[str, str]] = {}
    is_open: ClassVar[bool] = False
    rate_limits: ClassVar[dict[str, int]] = {}
    request: Any

    @property
    def actor(self) -> Actor:
        """Return who is calling."""
        actor: Actor = getattr(self.request._request, "actor", ANONYMOUS)
        return actor

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Tell what is left of the limit of requests."""
        found = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        for name, value in getattr(request._request, "rate_limit", {}).items():
            found.headers.setdefault(name, value)
        return found


class View(ActorMixin, APIView):
    """A view that is one verb on something."""


class ListView(ActorMixin, generics.GenericAPIView):
    """A view over rows: declare `queryset` per actor in `get_queryset`, `serializer_class`, `filterset_class`."""

    def page(self, request: Request, queryset: Any) -> Response:
        """Answer one cursor page of the filtered rows."""
        rows = self.paginate_queryset(self.filter_queryset(queryset))
        return self.get_paginated_response(self.get_serializer(rows, many=True).data)


class SchemaView(ActorMixin, SpectacularAPIView):
    """The OpenAPI 3.1 document, open to everybody: it says nothing that the documentation doesn't."""

    is_open = True
