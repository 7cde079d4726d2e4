"""Idempotency of what takes long and is no row: no transaction is open while it runs."""

from __future__ import annotations

import hashlib
import secrets

import structlog
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from redis.exceptions import RedisError

from apps.core.actor import Actor
from apps.core.redis import get_async_redis
from apps.events.errors import RequestRunning
from apps.events.services.idempotency import Answer, caller_of, run_once

logger = structlog.get_logger(__name__)

LEASE_SECONDS = 30
"""For so long after the death of whoever ran it a request is taken for running."""
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class _NothingKept(Exception):
    """There is no answer to give again."""


class Repetition:
    """One request under its Idempotency-Key.

    `begin` gives the answer of an earlier run, or lets this one run; `renew` keeps others away while it does; `end`
    remembers its answer, or lets the next try. While Redis is down two runs at once are not kept apart.
    """

    def __init__(self, *, actor: Actor, key: str, fingerprint: str) -> None:
        self._actor = actor
        self._key = key
        self._fingerprint = fingerprint
        digest = hashlib.sha256(f"{caller_of(actor)}:{key}".encode()).hexdigest()
        self._place = f"portico:once:{digest}"
        self._token = secrets.token_hex(8)

    async def begin(self) -> Answer | None:
        """Return the remembered answer; None to run.

        Raise RequestRunning while another runs it, and what `run_once` raises for the key.
        """
        kept = await sync_to_async(self._find)()
        if kept is not None:
            return kept
        try:
            is_ours = await get_async_redis().set(self._place, self._token, nx=True, ex=LEASE_SECONDS)
        except (RedisError, OSError) as error:
            logger.warning("repetition_unguarded", error=str(error)[:200])
            return None
        if not is_ours:
            raise RequestRunning(
                "The first request with this Idempotency-Key is running; ask again shortly.", retry_after_seconds=2
            )
        # The first may have ended between the two looks.
        return await sync_to_async(self._find)()

    async def renew(self) -> None:
        """Say that it still runs; to be called more often than every LEASE_SECONDS."""
        try:
            await get_async_redis().expire(self._place, LEASE_SECONDS)
        except (RedisError, OSError) as error:
            logger.warning("repetition_unguarded", error=str(error)[:200])

    async def end(self, answer: Answer | None) -> None:
        """Remember the answer, None for a run that failed, and let go."""
        if answer is not None:
            await sync_to_async(self._keep)(answer)
        try:
            await get_async_redis().eval(_RELEASE, 1, self._place, self._token)
        except (RedisError, OSError) as error:
            logger.warning("repetition_unguarded", error=str(error)[:200])

    def _find(self) -> Answer | None:
        def refuse() -> Answer:
            raise _NothingKept

        try:
            return run_once(actor=self._actor, key=self._key, fingerprint=self._fingerprint, effect=refuse)
        except _NothingKept:
            return None
        finally:
            close_old_connections()

    def _keep(self, answer: Answer) -> None:
        try:
            run_once(actor=self._actor, key=self._key, fingerprint=self._fingerprint, effect=lambda: answer)
        finally:
            close_old_connections()
