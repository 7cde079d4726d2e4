"""Providers and their health over REST."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.views import ListView, View
from apps.core.errors import InvalidInput
from apps.gateway.api import examples
from apps.gateway.api.provider_serializers import (
    BUCKETS,
    HealthHistoryOutput,
    HealthHistoryQuery,
    ProviderHealthListOutput,
    ProviderHealthOutput,
    ProviderOutput,
)
from apps.gateway.errors import ProviderUnknown
from apps.gateway.models import Provider
from apps.gateway.runtime.sharing import shared_health
from apps.gateway.selectors.health import health_history, provider_healths

READ = "models:read"


class ProviderListView(ListView):
    """Those who run the models."""

    scopes: ClassVar[dict[str, str]] = {"GET": READ}
    serializer_class = ProviderOutput

    @extend_schema(
        operation_id="providers_list",
        summary="Providers, their status and how many models each serves",
        examples=[examples.answered({"items": [examples.PROVIDER], "next": None, "previous": None})],
    )
    def get(self, request: Request) -> Response:
        """Answer one page of the providers; neither addresses nor credentials are told."""
        return self.page(request, Provider.objects.with_model_count().prefetch_related("health"))


class ProviderHealthView(View):
    """How the providers are now."""

    scopes: ClassVar[dict[str, str]] = {"GET": READ}

    @extend_schema(
        operation_id="providers_health",
        summary="Health of every provider and its deployments",
        description="What the last probes found, and which deployments calls are kept away from at the moment.",
        responses=ProviderHealthListOutput,
        examples=[examples.answered({"items": [examples.PROVIDER_HEALTH]})],
    )
    def get(self, request: Request) -> Response:
        """Answer all active providers."""
        context = {"health": shared_health()}
        return Response({"items": ProviderHealthOutput(provider_healths(), many=True, context=context).data})


class ProviderHealthHistoryView(View):
    """How the providers were."""

    scopes: ClassVar[dict[str, str]] = {"GET": READ}

    @extend_schema(
        operation_id="providers_health_history",
        summary="Health of providers over time",
        description="Uptime and latency of the health probes, in spans of a minute to a day.",
        parameters=[HealthHistoryQuery],
        responses=HealthHistoryOutput,
        examples=[examples.answered(examples.HEALTH_HISTORY)],
    )
    def get(self, request: Request) -> Response:
        """Answer the spans of a period, the last day unless told."""
        query = HealthHistoryQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked: dict[str, Any] = query.validated_data
        provider = _find_provider(asked["provider"]) if asked["provider"] else None
        items = health_history(
            since=asked["since"], until=asked["until"], bucket=BUCKETS[asked["bucket"]], provider=provider
        )
        return Response(HealthHistoryOutput({**asked, "items": items}).data)


def _find_provider(wanted: str) -> Provider:
    """Return a provider by slug or public id. Raise ProviderUnknown."""
    found = Provider.objects.filter(slug=wanted).first()
    if found is None:
        try:
            found = Provider.objects.filter(id=Provider.parse_id(wanted)).first()
        except InvalidInput:
            found = None
    if found is None:
        raise ProviderUnknown(f"There is no provider {wanted[:80]!r}.", param="provider")
    return found
