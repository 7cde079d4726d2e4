"""The threads of a worker process that send webhooks.

Waiting for remote servers takes no worker's slot: a task only says which endpoint has work. An endpoint gets a few
threads and gives them back after a shift, so that neither a busy nor a dead one slows another.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any
from uuid import UUID

import structlog
from django.db import DEFAULT_DB_ALIAS, connection, connections

from apps.integrations.services.delivering import deliver_queue
from apps.integrations.services.queueing import PARALLEL_PER_ENDPOINT

logger = structlog.get_logger(__name__)

THREADS = 32
POOL = "webhooks"


class Dispatcher:
    """One per process; threads start with the first work."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="webhooks", initializer=use_own_pool)
        self._lock = threading.Lock()
        self._running: Counter[UUID] = Counter()
        self._rung: set[UUID] = set()
        self._futures: set[Future[Any]] = set()
        self._is_closing = False

    def ring(self, endpoint_id: UUID) -> None:
        """Have one more thread look at the endpoint's queue; when all of its threads are busy, one will look again."""
        with self._lock:
            if self._is_closing:
                return
            if self._running[endpoint_id] >= PARALLEL_PER_ENDPOINT:
                self._rung.add(endpoint_id)
                return
            self._running[endpoint_id] += 1
            self._submit(endpoint_id)

    def close(self, *, seconds: float) -> None:
        """Take no more work and wait for what is being sent; what takes longer is sent again by somebody else."""
        with self._lock:
            self._is_closing = True
            running = set(self._futures)
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(running, timeout=seconds)

    def _submit(self, endpoint_id: UUID) -> None:
        future = self._pool.submit(self._work_shift, endpoint_id)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    def _work_shift(self, endpoint_id: UUID) -> None:
        has_more = False
        try:
            has_more = deliver_queue(endpoint_id=endpoint_id, leave_database=connection.close)
        except Exception:  # the sweep rings again; a thread that dies silently would leave its place taken
            logger.exception("webhook_shift_failed", endpoint=str(endpoint_id))
        finally:
            connection.close()
        with self._lock:
            if (has_more or endpoint_id in self._rung) and not self._is_closing:
                self._rung.discard(endpoint_id)
                self._submit(endpoint_id)
                return
            self._running[endpoint_id] -= 1
            if not self._running[endpoint_id]:
                del self._running[endpoint_id]


def use_own_pool() -> None:
    """Give this thread's database connection a pool that it shares with the other sending threads only.

    Celery closes the process's own pool before and after every task, under the feet of whoever uses it.
    """
    mine = connections[DEFAULT_DB_ALIAS].copy(alias=POOL)
    connections[DEFAULT_DB_ALIAS] = connections[POOL] = mine


_dispatcher: Dispatcher | None = None
_lock = threading.Lock()


def get_dispatcher() -> Dispatcher:
    """Return this process's dispatcher."""
    global _dispatcher  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _dispatcher is None:
            _dispatcher = Dispatcher()
        return _dispatcher


def close_dispatcher(*, seconds: float) -> None:
    """Close this process's dispatcher if it has one."""
    global _dispatcher
    with _lock:
        found, _dispatcher = _dispatcher, None
    if found is not None:
        found.close(seconds=seconds)
