"""ORM work of the hot path's caches: in a thread, within a time, with a connection that is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
from django.db import Error as DatabaseError
from django.db import InterfaceError, connections
from psycopg_pool import PoolTimeout

T = TypeVar("T")

LOAD_SECONDS = 1.8
"""Longest wait for the database: a caller whose key cannot be checked hears so within two seconds."""
UNREACHABLE = (DatabaseError, InterfaceError, psycopg.Error, PoolTimeout, OSError, TimeoutError)


class Loader:
    """Runs database reads beside the event loop. A hanging database ties up its threads, never the loop."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="gateway-load")
        self._loop = asyncio.get_running_loop()
        self._failed_at = float("-inf")

    @property
    def is_database_down(self) -> bool:
        """Tell whether the last read failed, a moment ago."""
        return self._loop.time() - self._failed_at < LOAD_SECONDS

    async def load(self, read: Callable[[], T]) -> T:
        """Return what `read` returns. Raise TimeoutError, or what it raises (UNREACHABLE: the database is down)."""
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                found = await self._loop.run_in_executor(self._executor, _read_and_let_go, read)
        except UNREACHABLE:
            self._failed_at = self._loop.time()
            raise
        self._failed_at = float("-inf")
        return found

    def close(self) -> None:
        """Let the threads end."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _read_and_let_go(read: Callable[[], T]) -> T:
    try:
        return read()
    finally:
        connections.close_all()
