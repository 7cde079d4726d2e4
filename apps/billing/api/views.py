"""Usage over REST."""

from __future__ import annotations

from typing import Any, ClassVar

import orjson
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from apps.billing.api.serializers import UsageQuerySerializer, UsageSummarySerializer
from apps.billing.selectors import UsageQuery, usage_summary
from apps.billing.selectors.exporting import write_usage
from apps.core.actor import Actor
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
BY_MODEL = [{"by": "model", "key": "gpt-4o-mini", "label": "gpt-4o-mini"}]
BY_KEY = [{"by": "key", "key": "key_01h455vb4pex5vsknk084sn02q", "label": "ci (pk_live_4fK9…)"}]
PERIOD = {"since": "2026-11-01T00:00:00Z", "until": "2026-11-21T09:00:00Z", "currency": "USD", "totals": TOTALS}
EXAMPLES = [
    OpenApiExample(
        "This month by model",
        value={
            **PERIOD,
            "group": "model",
            "group_by": ["model"],
            "items": [{"key": "gpt-4o-mini", "label": "gpt-4o-mini", "groups": BY_MODEL, "totals": TOTALS}],
            "is_cut": False,
        },
        response_only=True,
    ),
    OpenApiExample(
        "This month by model and key",
        value={
            **PERIOD,
            "group": "model",
            "group_by": ["model", "key"],
            "items": [{"key": "gpt-4o-mini", "label": "gpt-4o-mini", "groups": BY_MODEL + BY_KEY, "totals": TOTALS}],
            "is_cut": False,
        },
        response_only=True,
    ),
]


class CsvRenderer(BaseRenderer):
    """Offers CSV to `Accept: text/csv` and `?format=csv`; the view writes it itself, line by line."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """Return what is no usage: a problem, as JSON."""
        return orjson.dumps(data)


class UsageView(View):
    """Tokens, requests and cost of a period. Members see their own, administrators the whole organization's."""

    scopes: ClassVar[dict[str, str]] = {"GET": "billing:read"}
    renderer_classes = (*api_settings.DEFAULT_RENDERER_CLASSES, CsvRenderer)  # type: ignore[arg-type]

    @extend_schema(
        operation_id="billing_usage_retrieve",
        summary="Usage and cost",
        parameters=[UsageQuerySerializer],
        responses={
            (200, "application/json"): UsageSummarySerializer,
            (200, "text/csv"): OpenApiResponse(
                str, description="A line per group: its keys and names, then the totals."
            ),
        },
        examples=EXAMPLES,
    )
    def get(self, request: Request) -> Response | StreamingHttpResponse:
        """Answer the usage of a period (the current month unless told), in all and by group; as CSV where that is asked for."""
        asked = UsageQuerySerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        query: UsageQuery = asked.validated_data["query"]
        if request.accepted_renderer.format == CsvRenderer.format:
            return stream_csv(query, self.actor)
        return Response(UsageSummarySerializer(usage_summary(query, actor=self.actor)).data)


def stream_csv(query: UsageQuery, actor: Actor) -> StreamingHttpResponse:
    """Return every group of a period as a CSV file that is written while it is read."""
    name = f"usage-{query.since:%Y-%m-%d}-{query.until:%Y-%m-%d}.csv"
    return StreamingHttpResponse(
        write_usage(query, actor=actor),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
