"""Idempotent requests (`Idempotency-Key`): one effect, the same bytes back for 24 hours.

The key's advisory lock, the effect and the remembered answer share one transaction. A process that is killed leaves
neither the effect nor the memory, so the client's retry simply runs; no lease has to expire first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from apps.core.actor import Actor
from apps.core.locks import try_lock
from apps.events.errors import IdempotencyKeyInvalid, IdempotencyKeyReused, RequestRunning
from apps.events.models import IdempotentRequest

KEEP = timedelta(hours=24)
KEY_FORM = re.compile(r"^[\x21-\x7e]{1,255}$")


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer: status, body as UTF-8 text, headers."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    is_replay: bool = False


def fingerprint_of(*, method: str, path: str, body: bytes) -> str:
    """Return the SHA-256 that tells one request from another under the same key."""
    return hashlib.sha256(b"\0".join([method.encode(), path.encode(), body])).hexdigest()


def caller_of(actor: Actor) -> str:
    """Return whose keys these are: two callers may use the same key without meeting."""
    return f"{actor.organization_id}:{actor.api_key_id or actor.oauth_client_id or actor.user_id or 'anonymous'}"


def run_once(*, actor: Actor, key: str, fingerprint: str, effect: Callable[[], Answer]) -> Answer:
    """Run `effect` once per caller and key; give the remembered answer to everyone who asks again.

    Raise IdempotencyKeyInvalid for a malformed key, RequestRunning while the first request runs, IdempotencyKeyReused
    when the key came with another request. What `effect` raises rolls everything back and is not remembered.
    """
    if not KEY_FORM.match(key):
        raise IdempotencyKeyInvalid("Idempotency-Key: give 1 to 255 printable ASCII characters without spaces.")
    caller = caller_of(actor)
    with transaction.atomic():
        if not try_lock(f"idempotency:{caller}:{key}"):
            raise RequestRunning(
                "The first request with this Idempotency-Key is running; ask again shortly.", retry_after_seconds=1
            )
        kept = IdempotentRequest.objects.filter(caller=caller, key=key, created_at__gt=Now() - KEEP).first()
        if kept is not None:
            if kept.fingerprint != fingerprint:
                raise IdempotencyKeyReused("Use a new Idempotency-Key for a request with another path or body.")
            return Answer(kept.status, kept.body, kept.headers, is_replay=True)
        answer = effect()
        IdempotentRequest.objects.update_or_create(
            caller=caller,
            key=key,
            defaults={
                "fingerprint": fingerprint,
                "status": answer.status,
                "body": answer.body,
                "headers": answer.headers,
                "created_at": Now(),
            },
        )
    return answer


def forget_old_requests() -> int:
    """Delete remembered answers older than 24 hours; return how many."""
    count, _ = IdempotentRequest.objects.filter(created_at__lte=Now() - KEEP).delete()
    return count
