"""Optimistic locking over HTTP: ETag out, If-Match in (RFC 9110, 13.1.1)."""

from __future__ import annotations

from rest_framework.request import Request

from apps.core.errors import PreconditionFailed
from apps.core.models import VersionedEntity


def expected_version(request: Request) -> int | None:
    """Return the version that If-Match names, None where it is absent or `*`. Raise PreconditionFailed for nonsense."""
    given = request.headers.get("If-Match", "").strip()
    if not given or given == "*":
        return None
    text = given.removeprefix("W/").strip('"')
    if not text.isdigit():
        raise PreconditionFailed(f"If-Match: {given[:80]} is not an ETag of this resource; GET it again.")
    return int(text)


def require_version(instance: VersionedEntity, expected: int | None) -> None:
    """Raise PreconditionFailed when the row is no longer at the expected version."""
    if expected is not None and instance.version != expected:
        raise PreconditionFailed(
            f"{instance.public_id} is at version {instance.version}, If-Match named {expected}; GET it and try again.",
            headers={"ETag": instance.etag},
        )
