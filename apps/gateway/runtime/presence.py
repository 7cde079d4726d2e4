"""Shows others which calls run in this process, and ends one when told to.

Every process writes its list into Redis once a second, under a name that expires: a list that is there is a few seconds
old at most, and a process that dies takes its own along. Nothing depends on it but the page that shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

import orjson
import structlog
from redis.exceptions import RedisError

from apps.core.ids import uuid7
from apps.core.redis import get_async_redis
from apps.gateway.errors import CallStopped

logger = structlog.get_logger(__name__)

CALLS_CHANNEL = "portico:calls"
RUNNING_PREFIX = "portico:running:"
EVERY_SECONDS = 1.0
EXPIRES_SECONDS = 5
MAX_SHOWN = 200
"""The longest-running calls of each process; of the others only the number is told."""


@runtime_checkable
class Stoppable(Protocol):
    """A running call as it is shown."""

    public_id: str

    def describe(self) -> dict[str, Any]:
        """Return what may be shown: ids, names and figures, no text. `seconds` is how long it has been running."""
        ...

    def abort(self, error: Any) -> None:
        """End it with an error."""
        ...


class Presence:
    """The running calls of one process, as others may see them. One per event loop."""

    def __init__(self, running: Callable[[], Iterable[object]]) -> None:
        self._running = running
        self._loop = asyncio.get_running_loop()
        self._key = RUNNING_PREFIX + uuid7().hex
        self._due = 0.0
        self._was_shown = False
        self._writing: asyncio.Task[None] | None = None

    def tick(self, now: float) -> None:
        """Write the list when its time has come. Idle processes write nothing."""
        if now < self._due or (self._writing is not None and not self._writing.done()):
            return
        self._due = now + EVERY_SECONDS
        calls = [call for call in self._running() if isinstance(call, Stoppable)]
        if calls or self._was_shown:
            self._was_shown = bool(calls)
            self._writing = self._loop.create_task(self._write(calls))

    def hear(self, data: bytes) -> None:
        """End the call that a message of CALLS_CHANNEL names, if it runs here."""
        try:
            wanted = orjson.loads(data)["stop"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            logger.warning("call_message_unreadable")
            return
        for call in tuple(self._running()):
            if isinstance(call, Stoppable) and call.public_id == wanted:
                call.abort(CallStopped("An administrator stopped this call."))

    async def close(self) -> None:
        """Take the list away."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._was_shown:
            await self._write([])

    async def _write(self, calls: list[Stoppable]) -> None:
        shown = sorted((call.describe() for call in calls), key=lambda told: -told["seconds"])[:MAX_SHOWN]
        try:
            redis = get_async_redis()
            if calls:
                await redis.set(self._key, orjson.dumps({"count": len(calls), "calls": shown}), ex=EXPIRES_SECONDS)
            else:
                await redis.delete(self._key)
        except (RedisError, OSError, TimeoutError):
            self._was_shown = False  # nothing to take away: it expires
