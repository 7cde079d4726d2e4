"""Hears over Redis what changed: who may call (`portico:identity`), what can be called (`portico:catalogue`), and more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType

import orjson
import structlog
from redis.exceptions import RedisError

from apps.core.redis import get_async_redis

logger = structlog.get_logger(__name__)

IDENTITY_CHANNEL = "portico:identity"
CATALOGUE_CHANNEL = "portico:catalogue"
POLL_SECONDS = 1.0
RETRY_SECONDS = 1.0
SILENCE_SECONDS = 5.0
NO_OTHERS: Mapping[str, Callable[[bytes], None]] = MappingProxyType({})


class Listener:
    """Listens until closed; says when it begins and ceases to hear."""

    def __init__(
        self,
        *,
        on_identity: Callable[[str], None],
        on_catalogue: Callable[[], None],
        on_hearing: Callable[[bool], None],
        others: Mapping[str, Callable[[bytes], None]] = NO_OTHERS,
    ) -> None:
        self._on_identity = on_identity
        self._on_catalogue = on_catalogue
        self._on_hearing = on_hearing
        self._others = others
        self._hears = False
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def close(self) -> None:
        """Stop listening."""
        # The Redis client swallows a cancellation that comes while it connects.
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.1)

    async def _listen(self) -> None:
        while True:
            try:
                async with get_async_redis().pubsub() as channel:
                    await channel.subscribe(IDENTITY_CHANNEL, CATALOGUE_CHANNEL, *self._others)
                    await self._hear(channel)
            except (RedisError, OSError, TimeoutError) as error:
                if self._hears:
                    logger.warning("changes_unheard", error=f"{type(error).__name__}: {error}"[:200])
            self._tell(hears=False)
            await asyncio.sleep(RETRY_SECONDS)

    async def _hear(self, channel: object) -> None:
        loop = asyncio.get_running_loop()
        last_heard = loop.time()
        while True:
            message = await channel.get_message(timeout=POLL_SECONDS)  # type: ignore[attr-defined]
            now = loop.time()
            if message is None:
                # A Redis that hangs sends nothing, not even answers to our pings.
                if now - last_heard > SILENCE_SECONDS:
                    raise TimeoutError("Redis is silent")
                if now - last_heard > SILENCE_SECONDS / 2:
                    await channel.ping()  # type: ignore[attr-defined]
                continue
            last_heard = now
            self._tell(hears=True)
            if message["type"] == "message":
                self._take(message["channel"].decode(), message["data"])

    def _take(self, channel: str, data: bytes) -> None:
        if channel == CATALOGUE_CHANNEL:
            self._on_catalogue()
            return
        if channel in self._others:
            self._others[channel](data)
            return
        try:
            changed = orjson.loads(data)
            self._on_identity(str(changed["id"]))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            logger.warning("identity_change_unreadable")

    def _tell(self, *, hears: bool) -> None:
        if hears != self._hears:
            self._hears = hears
            self._on_hearing(hears)
