"""Examples of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample

ENDPOINT: dict[str, Any] = {
    "id": "whk_01jd8x6q4ze1mvtqz0v3g7c2hn",
    "url": "https://hooks.example.com/portico",
    "description": "Order desk",
    "event_types": ["conversation.created"],
    "is_active": True,
    "disabled_reason": None,
    "consecutive_failures": 0,
    "first_failed_at": None,
    "last_succeeded_at": "2026-11-21T09:30:00Z",
    "last_error": None,
    "previous_secret_valid_until": None,
    "created_at": "2026-11-21T08:00:00Z",
    "updated_at": "2026-11-21T08:00:00Z",
    "version": 1,
}
SECRET = {**ENDPOINT, "secret": "whsec_…"}
DELIVERY: dict[str, Any] = {
    "id": "whd_01jd8x6q50f8s6d4f2g0h8j6k4",
    "webhook_id": "evt_01jd8x6q50ew2a4t6y8u0j2n4r",
    "event_type": "conversation.created",
    "occurred_at": "2026-11-21T09:30:00Z",
    "state": "pending",
    "ordering_key": "conversation:0192f0c1-2a3b-7c4d-8e5f-60718293a4b5",
    "sequence": 1,
    "attempt_count": 1,
    "due_at": "2026-11-21T09:30:05Z",
    "finished_at": None,
    "last_error": "The receiver answered 503.",
    "body": '{"type":"conversation.created","timestamp":"2026-11-21T09:30:00Z","data":{…}}',
    "attempts": [
        {
            "id": "wha_01jd8x6q50ew2a4t6y8u0j2n4r",
            "number": 1,
            "started_at": "2026-11-21T09:30:00Z",
            "duration_ms": 87,
            "url": "https://hooks.example.com/portico",
            "request_headers": {
                "content-type": "application/json",
                "webhook-id": "evt_01jd8x6q50ew2a4t6y8u0j2n4r",
                "webhook-timestamp": "1795253400",
                "webhook-signature": "v1,***",
            },
            "is_success": False,
            "response_status": 503,
            "response_headers": {"retry-after": "5"},
            "response_body": "try later",
            "is_body_truncated": False,
            "error_kind": None,
            "error": None,
        }
    ],
}
EVENT_TYPE: dict[str, Any] = {
    "type": "webhook_endpoint.disabled",
    "description": "The platform stopped sending to an endpoint.",
    "aggregate_type": "webhook_endpoint",
    "schema": {"type": "object", "required": ["type", "timestamp", "data"]},
    "example": {"type": "webhook_endpoint.disabled", "timestamp": "2026-03-01T12:00:00Z", "data": {"reason": "gone"}},
}
STATS: dict[str, Any] = {
    "circuits": [{"name": "webhook:0192f0c1", "state": "open", "failures": 4, "opened_at": "2026-11-21T09:30:00Z"}],
    "purposes": [
        {
            "purpose": "webhooks",
            "calls": 120,
            "failed": 3,
            "outcomes": {"2xx": 117, "timeout": 3},
            "p50_ms": 41,
            "p95_ms": 230,
        }
    ],
    "recent": [
        {
            "at": "2026-11-21T09:30:00Z",
            "purpose": "webhooks",
            "method": "POST",
            "host": "hooks.example.com",
            "status": 204,
            "outcome": "2xx",
            "duration_ms": 41,
        }
    ],
}


def asked(value: Any) -> OpenApiExample:
    """Return an example of a request."""
    return OpenApiExample("request", value=value, request_only=True)


def answered(value: Any, *, status: str = "200") -> OpenApiExample:
    """Return an example of an answer."""
    return OpenApiExample("answer", value=value, response_only=True, status_codes=[status])
