"""Stored responses: one, what came before it, its input, its events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import connection
from django.utils import timezone

from apps.core.actor import Actor
from apps.core.ids import encode_id, time_of
from apps.gateway.errors import ResponseUnknown
from apps.gateway.models import ResponseEvents, StoredResponse
from apps.gateway.models.responses import RESPONSE_PREFIX

MOST_BEFORE = 1000
"""Responses in a row that a new one may go on from."""
MAX_CONTEXT_BYTES = 64 * 1024 * 1024
"""Of JSON; a chain that is longer is cut where it passes this, and refused by whoever needs all of it."""
EVENT_ROWS = 50
"""Stretches of events that one read takes."""
END = "\n\n"

# The whole chain in one query, newest first. The same owner all along: nobody can put a stranger's id into a chain.
_CHAIN = """
    WITH RECURSIVE chain AS (
        SELECT r.*, 1 AS depth, octet_length(r.input) + octet_length(r.document) AS size
        FROM gateway_response r WHERE r.id = %(id)s
        UNION ALL
        SELECT r.*, chain.depth + 1, chain.size + octet_length(r.input) + octet_length(r.document)
        FROM gateway_response r JOIN chain ON r.id = chain.previous_id
        WHERE r.organization_id = chain.organization_id AND r.user_id IS NOT DISTINCT FROM chain.user_id
            AND r.oauth_client_id = chain.oauth_client_id AND chain.depth < %(most)s AND chain.size < %(size)s
    )
    SELECT id, previous_id, status, input, document FROM chain ORDER BY depth
"""


@dataclass(frozen=True, slots=True)
class Link:
    """One response of a chain, as the next one needs it."""

    id: UUID
    previous_id: UUID | None
    status: str
    input: str
    document: str

    def items(self) -> list[dict[str, Any]]:
        """Return what was said: the input's new items, then the output."""
        found: list[dict[str, Any]] = orjson.loads(self.input)
        found += orjson.loads(self.document)["output"]
        return found


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events of a response after a place. `last` is the number of the last of them; `is_over` when nothing follows."""

    events: str
    last: int
    is_over: bool


def unknown_response(response_id: UUID) -> ResponseUnknown:
    """Return the refusal of a response that is not there, or not the caller's."""
    return ResponseUnknown(
        f"Response {encode_id(RESPONSE_PREFIX, response_id)!r} does not exist, or is not stored any more."
    )


def find_response(*, actor: Actor, response_id: UUID, now: datetime | None = None) -> StoredResponse:
    """Return one of the actor's own. Raise ResponseUnknown: what is somebody else's looks like what is not there."""
    found = StoredResponse.objects.visible_to(actor).kept(now or timezone.now()).filter(id=response_id).first()
    if found is None:
        raise unknown_response(response_id)
    return found


def read_chain(*, actor: Actor, response_id: UUID) -> list[Link]:
    """Return a response and what it goes on from, newest first. Raise ResponseUnknown."""
    find_response(actor=actor, response_id=response_id)
    with connection.cursor() as cursor:
        cursor.execute(_CHAIN, {"id": response_id, "most": MOST_BEFORE, "size": MAX_CONTEXT_BYTES})
        return [Link(*row) for row in cursor.fetchall()]


def read_stretch(*, response_id: UUID, after: int) -> Stretch:
    """Return the next events after a number. Raise ResponseUnknown when the response is gone.

    The response is read first: when it says that it is over, all its events were there before. Whoever asks for what comes
    after the last event is told the last one again when it saw more than was kept, because the process that wrote it died.
    """
    row = StoredResponse.objects.filter(id=response_id).only("status", "last_sequence").first()
    if row is None:
        raise unknown_response(response_id)
    if not row.is_active and after > row.last_sequence:
        after = row.last_sequence - 1
    rows = list(
        ResponseEvents.objects.filter(response_id=response_id, created_at=time_of(response_id), last__gt=after)
        .order_by("first")
        .values_list("first", "last", "events")[:EVENT_ROWS]
    )
    events = "".join(cut_events(text, first=first, after=after) for first, _, text in rows)
    last = rows[-1][1] if rows else after
    return Stretch(events, last, is_over=not row.is_active and (last >= row.last_sequence or not rows))


def cut_events(text: str, *, first: int, after: int) -> str:
    """Return the events of a stretch that begins with number `first`, without those up to `after`."""
    if after < first:
        return text
    events = text.split(END)
    return END.join(events[after + 1 - first :])
