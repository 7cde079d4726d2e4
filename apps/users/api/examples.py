"""Examples of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample

USER_ID = "user_01jd8x6q4ze1mvtqz0v3g7c2hn"
TEAM_ID = "team_01jd8x6q51fsz8k2m4n6p8r0t2"
ORGANIZATION_ID = "org_01jd8x6q4zf5h9w3c1r8k2m7pd"
SESSION_ID = "sess_01jd8x6q50ew2a4t6y8u0j2n4r"
KEY: dict[str, Any] = {
    "id": "key_01jd8x6q50f8s6d4f2g0h8j6k4",
    "user_id": USER_ID,
    "organization_id": ORGANIZATION_ID,
    "team_id": None,
    "name": "Nightly summaries",
    "prefix": "pk_live_7Qf3Zb",
    "scopes": ["gateway:use", "models:read"],
    "allowed_models": ["gpt-4o-mini"],
    "requests_per_minute": 60,
    "tokens_per_minute": None,
    "parallel_calls": None,
    "expires_at": "2027-06-30T00:00:00Z",
    "previous_expires_at": None,
    "last_used_at": None,
    "created_at": "2026-11-21T08:00:00Z",
    "revoked_at": None,
}
TOKENS = {
    "access_token": "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.….…",
    "token_type": "Bearer",
    "expires_in": 900,
    "refresh_token": "prt_…",
    "session_id": SESSION_ID,
    "user_id": USER_ID,
}
ME = {
    "id": USER_ID,
    "email": "ada@example.com",
    "name": "Ada Lovelace",
    "is_staff": False,
    "is_email_verified": True,
    "created_at": "2026-11-21T08:00:00Z",
    "organization_id": ORGANIZATION_ID,
    "role": "owner",
    "scopes": ["users:read", "users:write", "gateway:use"],
    "memberships": [
        {"organization_id": ORGANIZATION_ID, "organization_name": "Personal", "is_personal": True, "role": "owner"}
    ],
}
SESSION = {
    "id": SESSION_ID,
    "kind": "web",
    "device": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
    "ip_address": "203.0.113.7",
    "created_at": "2026-11-21T08:00:00Z",
    "last_seen_at": "2026-11-21T09:30:00Z",
    "expires_at": "2026-12-05T08:00:00Z",
    "is_current": True,
}


TEAM = {
    "id": TEAM_ID,
    "organization_id": ORGANIZATION_ID,
    "parent_id": None,
    "name": "Research",
    "slug": "research",
    "is_active": True,
    "created_at": "2026-11-21T08:00:00Z",
}
TEAM_MEMBER = {
    "user_id": USER_ID,
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "role": "member",
    "created_at": "2026-11-21T08:00:00Z",
}


def asked(value: Any) -> OpenApiExample:
    """Return an example of a request."""
    return OpenApiExample("Request", value=value, request_only=True)


def answered(value: Any, *, status: str = "200") -> OpenApiExample:
    """Return an example of an answer."""
    return OpenApiExample("Answer", value=value, response_only=True, status_codes=[status])
