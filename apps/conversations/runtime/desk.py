"""The desk of a web process: the answers it is writing, who waits for which, and who is listening."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog

from apps.core.actor import Actor
from apps.core.ids import uuid7
from apps.users.selectors.credentials import Credential

logger = structlog.get_logger(__name__)


class LocalRun:
    """A run that this process answers.

    `deltas` are stored and may be shown, `pending` is not yet; `end` is set when the end is stored: the number, name
    and content of the stream's last event. A run `is_lost` when another process declared it over.
    """

    def __init__(
        self,
        *,
        run_id: UUID,
        actor: Actor,
        request_id: UUID,
        request: dict[str, Any],
        opening: dict[str, Any],
    ) -> None:
        self.id = run_id
        self.actor = actor
        self.request_id = request_id
        self.request = request
        self.opening = opening
        self.deltas: list[tuple[int, str]] = []
        self.pending: list[str] = []
        self.pending_size = 0
        self.size = 0
        self.last_seq = 1
        self.end: tuple[int, str, dict[str, Any]] | None = None
        self.is_lost = False
        self.cancelled = asyncio.Event()
        self.stored = asyncio.Event()
        self.stored.set()

    @property
    def text(self) -> str:
        """Return what is stored of the answer."""
        return "".join(text for _, text in self.deltas)


class Desk:
    """Everything of one event loop. Nothing here is the truth; the truth is in Postgres."""

    def __init__(self) -> None:
        self.process_id = uuid7()
        self.runs: dict[UUID, LocalRun] = {}
        self.reserved: set[UUID] = set()
        self.unwritten: dict[UUID, LocalRun] = {}
        self.unannounced: set[str] = set()
        # What is asked of models beside the answers: titles by run, summaries by conversation and digest.
        self.titles: dict[UUID, asyncio.Task[None]] = {}
        self.summaries: dict[tuple[UUID, str], asyncio.Task[None]] = {}
        self.watches: dict[Credential, set[Callable[[], None]]] = defaultdict(set)
        self.services: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_busy(self) -> bool:
        """Tell whether anybody would miss this desk's services."""
        return bool(self.runs or self.reserved or self.watches or self._waiting)

    @property
    def known(self) -> set[UUID]:
        """Return the runs that this process works on or is about to."""
        return {*self.runs, *self.reserved}

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine that outlives its caller, in a context of its own.

        A request's context must not come along: it names a thread that ends with the request.
        """
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Cancel everything that runs here and wait for its last words."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def ensure(self, name: str, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep one task of this name going."""
        task = self.services.get(name)
        if task is None or task.done():
            self.services[name] = self.spawn(start())

    def wait_for(self, run_id: UUID, event: asyncio.Event) -> None:
        """Set `event` whenever something happens to the run."""
        self._waiting[run_id].add(event)

    def stop_waiting(self, run_id: UUID, event: asyncio.Event) -> None:
        """Forget a waiter."""
        self._waiting[run_id].discard(event)
        if not self._waiting[run_id]:
            del self._waiting[run_id]

    def ring(self, run_ids: Iterable[UUID]) -> None:
        """Wake everybody who waits for one of the runs."""
        for run_id in run_ids:
            for event in self._waiting.get(run_id, ()):
                event.set()

    def watch(self, credential: Credential, withdraw: Callable[[], None]) -> None:
        """Call `withdraw` when the credential no longer opens anything."""
        self.watches[credential].add(withdraw)

    def unwatch(self, credential: Credential, withdraw: Callable[[], None]) -> None:
        """Forget a watch."""
        self.watches[credential].discard(withdraw)
        if not self.watches[credential]:
            del self.watches[credential]

    def cancel(self, run_id: UUID) -> bool:
        """Stop an answer of this process; tell whether it is here."""
        run = self.runs.get(run_id)
        if run is not None:
            run.cancelled.set()
        return run is not None


_desks: WeakKeyDictionary[asyncio.AbstractEventLoop, Desk] = WeakKeyDictionary()


def current_desk() -> Desk:
    """Return the running loop's desk."""
    loop = asyncio.get_running_loop()
    desk = _desks.get(loop)
    if desk is None:
        desk = _desks[loop] = Desk()
    return desk
