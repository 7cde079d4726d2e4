"""The responses that a process writes, and the one task that stores them.

Everything that came since the last time is stored in one transaction, four times a second; what has ended at once. While
the database is away what ended is kept in memory, up to a bound, and written when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog
from django.db import connections

from apps.core.ids import uuid7
from apps.gateway.errors import ResponsesUnreachable
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.loading import LOAD_SECONDS, UNREACHABLE
from apps.gateway.services.responses.archive import Archive, Writing
from apps.gateway.services.responses.keeping import look_after, write_responses

T = TypeVar("T")

logger = structlog.get_logger(__name__)

FLUSH_SECONDS = 0.25
LOOK_SECONDS = 1.0
RETRY_SECONDS = 1.0
END_SECONDS = 2.0
"""Longest wait for the database before an answer goes out that is not stored yet."""
SLOW_SECONDS = 1.0
"""A write that takes longer is one of a database that does not answer: nobody else waits for it."""
CLOSE_SECONDS = 3.0
MOST_AT_ONCE = 100
MAX_HELD_CHARACTERS = 64 * 1024 * 1024
"""Of all that is not stored. Beyond it first events are given up, then the oldest responses."""


class Desk:
    """Everything of one event loop."""

    def __init__(self, runtime: Runtime) -> None:
        self.process_id = uuid7()
        self.archives: dict[UUID, Archive] = {}
        self._runtime = runtime
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gateway-responses")
        self._due = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_down = False
        self._writing_since: float | None = None
        self._looked_at = float("-inf")

    def begin(self, archive: Archive) -> None:
        """Take a response in; it is stored soon, and again as it grows."""
        self.archives[archive.id] = archive
        if self._keeper is None or self._keeper.done():
            self._keeper = self.spawn(self._keep())

    async def store(self, archive: Archive) -> None:
        """Return when the response is stored as it is now, or when that takes too long."""
        await self.wait(archive, lambda: not archive.is_dirty or self._is_away)

    async def end(self, archive: Archive, document: dict[str, Any]) -> None:
        """Take the end of a response, and return when it is stored; or soon, when the database is away."""
        archive.end(document)
        if archive.is_lost:
            return
        self.begin(archive)
        await self.wait(archive, lambda: archive.stored.is_set() or self._is_away)

    async def wait(self, archive: Archive, is_done: Callable[[], bool], *, seconds: float = END_SECONDS) -> None:
        """Return when something is so of a response, or when the time is over."""
        event = asyncio.Event()
        archive.wait_for(event)
        try:
            async with asyncio.timeout(seconds):
                while not (is_done() or archive.is_lost):
                    event.clear()
                    self._due.set()
                    await event.wait()
        except TimeoutError:
            logger.warning("response_not_settled_yet", response=str(archive.id))
        finally:
            archive.stop_waiting(event)

    def stop(self, response_id: UUID) -> bool:
        """End a response that is written here; tell whether it is."""
        archive = self.archives.get(response_id)
        if archive is None or not archive.is_active:
            return False
        archive.stop()
        return True

    def drop(self, archive: Archive) -> None:
        """Let go of a response that is not to be stored any more."""
        archive.lose()
        self.archives.pop(archive.id, None)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine that outlives its request, in a context of its own."""
        task = self._loop.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End what is written here, store what can be stored, and stop."""
        for archive in list(self.archives.values()):
            if archive.is_active:
                archive.stop()
        self._due.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.archives:
            logger.error("responses_lost", count=len(self.archives))
        self._threads.shutdown(wait=False, cancel_futures=True)
        _desks.pop(self._loop, None)

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, after what is being stored now. Raise ResponsesUnreachable."""
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                return await self._in_thread(work)
        except UNREACHABLE as error:
            raise ResponsesUnreachable(
                "Stored responses cannot be changed at the moment, because the database does not answer; try again shortly."
            ) from error

    @property
    def _is_away(self) -> bool:
        """Tell whether waiting for the database makes no sense."""
        since = self._writing_since
        return self._is_down or (since is not None and self._loop.time() - since > SLOW_SECONDS)

    async def _keep(self) -> None:
        while self.archives:
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            try:
                await self._look()
                await self._write()
                self._is_down = False
            except UNREACHABLE as error:
                await self._be_patient(error)
            except Exception as error:
                # A defect of ours must not make every answer wait for its end.
                logger.exception("responses_keeper_failed")
                await self._be_patient(error)

    async def _be_patient(self, error: Exception) -> None:
        if not self._is_down:
            logger.warning("responses_wait_for_database", error=f"{type(error).__name__}: {error}"[:200])
        self._is_down = True
        for archive in self.archives.values():
            archive.wake()
        self._bound()
        await asyncio.sleep(RETRY_SECONDS)

    async def _look(self) -> None:
        now = self._loop.time()
        if now - self._looked_at < LOOK_SECONDS or not any(archive.is_active for archive in self.archives.values()):
            return
        # The lease comes before the first row that lives by it.
        known = frozenset(self.archives)
        for response_id in await self._in_thread(lambda: look_after(process_id=self.process_id, known=known)):
            self.stop(response_id)
        self._looked_at = now

    async def _write(self) -> None:
        due = [archive.writing() for archive in self.archives.values() if archive.is_dirty][:MOST_AT_ONCE]
        if not due:
            return
        self._writing_since = self._loop.time()
        try:
            lost = await self._in_thread(lambda: write_responses(process_id=self.process_id, writings=due))
        finally:
            self._writing_since = None
        for writing in due:
            self._written(writing, is_lost=writing.archive.id in lost)
        if len(due) == MOST_AT_ONCE:
            self._due.set()

    def _written(self, writing: Writing, *, is_lost: bool) -> None:
        archive = writing.archive
        if is_lost:
            if archive.is_background and archive.is_active:
                archive.stop()
            archive.lose()
        else:
            archive.written(writing)
        if archive.is_lost or archive.stored.is_set():
            self.archives.pop(archive.id, None)
        archive.wake()

    def _bound(self) -> None:
        """Keep what is held while the database is away within its bound."""
        held = sum(archive.size for archive in self.archives.values())
        for archive in list(self.archives.values()):
            if held > MAX_HELD_CHARACTERS:
                held -= archive.size
                archive.drop_events()
                held += archive.size
        for archive in list(self.archives.values()):
            if held > MAX_HELD_CHARACTERS and not archive.is_active:
                logger.error("response_lost", response=str(archive.id))
                held -= archive.size
                self.drop(archive)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._threads, _run, work)


_desks: WeakKeyDictionary[asyncio.AbstractEventLoop, Desk] = WeakKeyDictionary()


def desk_of(runtime: Runtime) -> Desk:
    """Return the desk of a runtime's event loop; it is closed with the runtime."""
    desk = _desks.get(runtime.loop)
    if desk is None:
        desk = _desks[runtime.loop] = Desk(runtime)
        runtime.closing.append(desk.close)
    return desk


def _run(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        connections.close_all()
