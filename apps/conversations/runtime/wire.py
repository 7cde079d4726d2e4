"""The wire between web processes: Redis pub/sub says that something happened to a run, never what.

A lost message costs a second at the most: whoever waits also looks into the database.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from apps.conversations.runtime.desk import Desk
from apps.core.redis import get_async_redis

logger = structlog.get_logger(__name__)

CHANNEL = "portico:conversations:runs"
RETRY_SECONDS = 1.0
GROWN, CANCEL = "g", "c"
FAILURES = (RedisError, OSError, asyncio.TimeoutError)


def announce(desk: Desk, kind: str, run_ids: set[UUID]) -> None:
    """Tell the other processes, soon; what cannot be told is dropped."""
    desk.unannounced.update(f"{kind}{run_id.hex}" for run_id in run_ids)
    desk.ensure("announcer", lambda: _announce_all(desk))


async def _announce_all(desk: Desk) -> None:
    while desk.unannounced:
        words, desk.unannounced = desk.unannounced, set()
        try:
            await get_async_redis().publish(CHANNEL, " ".join(sorted(words)))
        except FAILURES as error:
            logger.debug("wire_down", error=str(error)[:200])
            await asyncio.sleep(RETRY_SECONDS)


def hear(desk: Desk, words: str) -> None:
    """Act on what another process said."""
    for word in words.split():
        run_id = UUID(word[1:])
        if word[0] == CANCEL:
            desk.cancel(run_id)
        else:
            desk.ring([run_id])


async def listen(desk: Desk) -> None:
    """Hear the other processes as long as the desk is busy; come back when Redis does."""
    while desk.is_busy:
        try:
            async with get_async_redis().pubsub(ignore_subscribe_messages=True) as wire:
                await wire.subscribe(CHANNEL)
                while desk.is_busy:
                    message = await wire.get_message(timeout=1.0)
                    if message is not None:
                        hear(desk, message["data"].decode())
        except FAILURES as error:
            logger.debug("wire_down", error=str(error)[:200])
            await asyncio.sleep(RETRY_SECONDS)
