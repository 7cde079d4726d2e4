"""One response as the process that writes it holds it, until all of it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from apps.core.actor import Actor
from apps.core.ids import time_of, uuid7
from apps.gateway.choices import ACTIVE_RESPONSES, ResponseStatus
from apps.gateway.selectors.responses import cut_events

EMPTY = b"[]"


@dataclass(frozen=True, slots=True)
class Pending:
    """Events that are not stored yet. `id` stays the same however often writing them is tried."""

    id: UUID
    first: int
    last: int
    events: str


@dataclass(frozen=True, slots=True)
class Writing:
    """What is to be written of one response at one time."""

    archive: Archive
    is_new: bool
    pending: tuple[Pending, ...]
    status: str
    document: str
    last_sequence: int
    finished_at: datetime | None


class Archive:
    """A response under way, or at its end and not yet stored. Belongs to one event loop.

    `describe` gives the object while it is written; `stop` ends the call behind it.
    """

    __slots__ = (
        "_document", "_waiting", "actor", "created_at", "describe", "finished_at", "has_lost_events", "id", "input",
        "is_background", "is_lost", "is_new", "is_stream", "last_sequence", "model", "pending", "previous_id", "status",
        "stop", "stored",
    )  # fmt: skip

    def __init__(
        self,
        *,
        response_id: UUID,
        actor: Actor,
        model: str,
        items: list[dict[str, Any]],
        describe: Callable[[str], dict[str, Any]],
        stop: Callable[[], None],
        previous_id: UUID | None = None,
        is_background: bool = False,
        is_stream: bool = False,
    ) -> None:
        self.id = response_id
        self.created_at = time_of(response_id)
        self.actor = actor
        self.model = model
        self.input = orjson.dumps(items).decode() if items else EMPTY.decode()
        self.describe = describe
        self.stop = stop
        self.previous_id = previous_id
        self.is_background = is_background
        self.is_stream = is_stream
        self.status: str = ResponseStatus.QUEUED if is_background else ResponseStatus.IN_PROGRESS
        self.finished_at: datetime | None = None
        self.last_sequence = -1
        self.pending: list[Pending] = []
        self.is_new = True
        """No row of it is stored."""
        self.is_lost = False
        """It was deleted, or declared over by somebody else."""
        self.has_lost_events = False
        self.stored = asyncio.Event()
        """Set when nothing is left to be written."""
        self._document = ""
        self._waiting: set[asyncio.Event] = set()

    @property
    def is_active(self) -> bool:
        """Tell whether it is still being written."""
        return self.status in ACTIVE_RESPONSES

    @property
    def is_dirty(self) -> bool:
        """Tell whether something of it is to be stored."""
        if self.is_lost or self.stored.is_set():
            return False
        return self.is_new or bool(self.pending) or not self.is_active

    @property
    def size(self) -> int:
        """Return about how many characters are held."""
        return len(self.input) + len(self._document) + sum(len(part.events) for part in self.pending)

    @property
    def document(self) -> str:
        """Return the response object as JSON."""
        return self._document or orjson.dumps(self.describe(self.status)).decode()

    def is_owned_by(self, actor: Actor) -> bool:
        """Tell whether it is the actor's, as `visible_to` does for those that are stored."""
        mine = self.actor
        owner = (mine.organization_id, mine.user_id, None if mine.user_id else mine.oauth_client_id)
        return owner == (actor.organization_id, actor.user_id, None if actor.user_id else actor.oauth_client_id)

    def take(self, events: bytes, next_sequence: int) -> None:
        """Take events as they are sent; the one after them would be `next_sequence`."""
        if not events:
            return
        self.status = ResponseStatus.IN_PROGRESS
        first, last = self.last_sequence + 1, next_sequence - 1
        self.last_sequence = last
        if not self.has_lost_events:
            self.pending.append(Pending(uuid7(), first, last, events.decode()))
        self.wake()

    def end(self, document: dict[str, Any]) -> None:
        """Take the object as it is in the end."""
        self._document = orjson.dumps(document).decode()
        self.status = document["status"]
        self.finished_at = datetime.now(UTC)
        self.wake()

    def drop_events(self) -> None:
        """Give up the events, which cannot be stored; the response itself is kept."""
        self.has_lost_events = True
        self.pending.clear()

    def events_after(self, after: int) -> tuple[str, int] | None:
        """Return the events after a number and the number of the last; None when older ones are stored already."""
        if after >= self.last_sequence:
            return "", after
        if not self.pending or after < self.pending[0].first - 1:
            return None
        found = [cut_events(part.events, first=part.first, after=after) for part in self.pending if part.last > after]
        return "".join(found), max(after, self.pending[-1].last)

    def writing(self) -> Writing:
        """Return what is to be written now."""
        return Writing(
            archive=self,
            is_new=self.is_new,
            pending=tuple(self.pending),
            status=self.status,
            document=self.document if self.is_new or not self.is_active else "",
            last_sequence=self.last_sequence,
            finished_at=self.finished_at,
        )

    def written(self, writing: Writing) -> None:
        """Forget what is stored now."""
        self.is_new = False
        del self.pending[: len(writing.pending)]
        if writing.finished_at is not None:
            self.stored.set()

    def lose(self) -> None:
        """Take note that it is no longer ours to write."""
        self.is_lost = True
        self.pending.clear()
        self.stored.set()
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        for event in self._waiting:
            event.set()

    def wait_for(self, event: asyncio.Event) -> None:
        """Set `event` whenever something happens."""
        self._waiting.add(event)

    def stop_waiting(self, event: asyncio.Event) -> None:
        """Forget a waiter."""
        self._waiting.discard(event)
