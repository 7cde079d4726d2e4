"""`/api/v3/monitoring/health*`: component checks for staff."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.views import View
from apps.monitoring.api.permissions import IsStaff
from apps.monitoring.api.serializers import ComponentSerializer, PlatformHealthSerializer
from apps.monitoring.selectors.components import check_components, overall

CACHE_EXAMPLE: dict[str, Any] = {
    "name": "cache",
    "status": "ok",
    "reason": "",
    "took_ms": 1.2,
    "details": {"used_memory_bytes": 1_048_576},
}


class PlatformHealthView(View):
    """Every component and their sum. Always 200: the answer is about the platform, readiness is /ready."""

    scopes: ClassVar[dict[str, str]] = {"GET": "monitoring:read"}
    permission_classes = (IsStaff,)
    staff_only: ClassVar[bool] = True

    @extend_schema(
        summary="Health of every component",
        responses=PlatformHealthSerializer,
        examples=[OpenApiExample("Well", value={"status": "ok", "components": [CACHE_EXAMPLE]}, response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """Check everything at once."""
        components = check_components()
        return Response(PlatformHealthSerializer({"status": overall(components), "components": components}).data)


class ComponentHealthView(View):
    """One component, named by the route."""

    scopes: ClassVar[dict[str, str]] = {"GET": "monitoring:read"}
    permission_classes = (IsStaff,)
    staff_only: ClassVar[bool] = True
    component: ClassVar[str] = ""

    @extend_schema(
        summary="Health of one component",
        responses=ComponentSerializer,
        examples=[OpenApiExample("Well", value=CACHE_EXAMPLE, response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """Check the component now."""
        (component,) = check_components((self.component,))
        return Response(ComponentSerializer(component).data)


class DatabaseHealthView(ComponentHealthView):
    """Postgres."""

    component = "database"


class CacheHealthView(ComponentHealthView):
    """Redis."""

    component = "cache"


class QueueHealthView(ComponentHealthView):
    """Broker, workers and outbox."""

    component = "queue"


class ProvidersHealthView(ComponentHealthView):
    """LLM providers."""

    component = "providers"
