"""Usage over REST."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.billing.api.serializers import UsageQuerySerializer, UsageSummarySerializer
from apps.billing.selectors import usage_summary
from apps.core.api.views import View

TOTALS = {
    "requests": 120,
    "errors": 2,
    "prompt_tokens": 48_000,
    "completion_tokens": 9_600,
    "cached_tokens": 12_000,
    "total_tokens": 57_600,
    "cost": "0.012060",
    "cost_micros": 12_060,
    "latency_ms": 840,
    "first_token_ms": 210,
}
EXAMPLE = OpenApiExample(
    "This month by model",
    value={
        "since": "2026-11-01T00:00:00Z",
        "until": "2026-11-21T09:00:00Z",
        "currency": "USD",
        "totals": TOTALS,
        "group": "model",
        "items": [{"key": "gpt-4o-mini", "label": "gpt-4o-mini", "totals": TOTALS}],
    },
    response_only=True,
)


class UsageView(View):
    """Tokens, requests and cost of a period. Members see their own, administrators the whole organization's."""

    scopes: ClassVar[dict[str, str]] = {"GET": "billing:read"}

    @extend_schema(
        operation_id="billing_usage_retrieve",
        summary="Usage and cost",
        parameters=[UsageQuerySerializer],
        responses=UsageSummarySerializer,
        examples=[EXAMPLE],
    )
    def get(self, request: Request) -> Response:
        """Answer the usage of a period (the current month unless told), in all and by group."""
        query = UsageQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        summary = usage_summary(
            actor=self.actor,
            since=asked["since"],
            until=asked["until"],
            group=asked.get("group"),
            currency=asked["currency"].upper(),
        )
        return Response(UsageSummarySerializer(summary).data)
