"""/api/v3/admin/api-gateway/stats: how calls to the outside go, for staff."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.views import View
from apps.core.errors import PermissionRefused
from apps.core.outbound.breaker import list_states
from apps.core.outbound.recording import RecordedCall, recent_calls
from apps.integrations.api import examples
from apps.integrations.api.serializers import OutboundStatsOutput

SHOWN_CALLS = 50


class OutboundStatsView(View):
    scopes: ClassVar[dict[str, str]] = {"GET": "monitoring:read"}
    staff_only: ClassVar[bool] = True

    @extend_schema(
        summary="Outbound calls: circuits, latency, errors, recent calls",
        description="Of the latest 500 calls of the whole platform. For staff.",
        responses={200: OutboundStatsOutput},
        examples=[examples.answered(examples.STATS)],
    )
    def get(self, request: Request) -> Response:
        if not request.user.is_staff:
            raise PermissionRefused("This is for the staff of the platform.")
        calls = recent_calls()
        return Response(
            {
                "circuits": [
                    {
                        "name": circuit.name,
                        "state": circuit.state,
                        "failures": circuit.failures,
                        "opened_at": circuit.opened_at and _moment(circuit.opened_at),
                    }
                    for circuit in list_states()
                ],
                "purposes": _sum_up(calls),
                "recent": [
                    {
                        "at": _moment(call.at),
                        "purpose": call.purpose,
                        "method": call.method,
                        "host": call.host,
                        "status": call.status,
                        "outcome": call.outcome,
                        "duration_ms": call.duration_ms,
                    }
                    for call in calls[:SHOWN_CALLS]
                ],
            }
        )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def _sum_up(calls: list[RecordedCall]) -> list[dict[str, Any]]:
    by_purpose: dict[str, list[RecordedCall]] = defaultdict(list)
    for call in calls:
        by_purpose[call.purpose].append(call)
    return [
        {
            "purpose": purpose,
            "calls": len(found),
            "failed": sum(call.status is None or call.status >= 500 for call in found),
            "outcomes": dict(sorted(Counter(call.outcome for call in found).items())),
            "p50_ms": _quantile(found, 0.5),
            "p95_ms": _quantile(found, 0.95),
        }
        for purpose, found in sorted(by_purpose.items())
    ]


def _quantile(calls: list[RecordedCall], share: float) -> int:
    durations = sorted(call.duration_ms for call in calls)
    return durations[min(len(durations) - 1, int(len(durations) * share))]
