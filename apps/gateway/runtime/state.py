"""The runtime: one per event loop, made by the first call, over one journal per process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings

from apps.billing.services.budgets import BUDGETS_CHANNEL
from apps.core.http import HttpSession
from apps.gateway.runtime.budgets import Budgets
from apps.gateway.runtime.cache import AnswerStore
from apps.gateway.runtime.callers import CallerCache
from apps.gateway.runtime.catalogue import Catalogue
from apps.gateway.runtime.holders import HolderMarks
from apps.gateway.runtime.journal import Journal
from apps.gateway.runtime.limiter import Limiter
from apps.gateway.runtime.listener import Listener
from apps.gateway.runtime.loading import Loader
from apps.gateway.runtime.metrics import IN_FLIGHT
from apps.gateway.runtime.presence import CALLS_CHANNEL, Presence
from apps.gateway.runtime.sessions import Sessions
from apps.gateway.runtime.sharing import HEALTH_CHANNEL, Sharing
from apps.gateway.runtime.shipper import Shipper
from apps.gateway.selectors import Route

logger = structlog.get_logger(__name__)

TICK_SECONDS = 0.25
DRAIN_SECONDS = 3.0

_runtimes: WeakKeyDictionary[asyncio.AbstractEventLoop, Runtime] = WeakKeyDictionary()
_journal_lock = threading.Lock()
_journal: tuple[int, Journal, Shipper] | None = None


class Watched(Protocol):
    """Something that is looked after while it runs."""

    def tick(self, now: float) -> None:
        """Do what is due at the loop's time `now`; called a few times a second."""
        ...

    def concerns(self, changed_id: str) -> bool:
        """Tell whether a changed key, user or organization is its caller's."""
        ...

    async def recheck(self) -> None:
        """Make sure that its caller may still do this, and end it otherwise."""
        ...


def get_journal() -> Journal:
    """Return this process's journal, made with its shipper when first asked for."""
    global _journal  # noqa: PLW0603 - one per process is the point
    with _journal_lock:
        # A forked child has its parent's memory, but neither its threads nor its promises.
        if _journal is None or _journal[0] != os.getpid():
            journal = Journal(settings.DATA_DIR / "journal", sync_always=settings.JOURNAL_SYNC == "always")
            shipper = Shipper(journal)
            shipper.start()
            _journal = (os.getpid(), journal, shipper)
        return _journal[1]


def close_journal(*, within_seconds: float = DRAIN_SECONDS) -> None:
    """Ship what the time allows and close; what is left is replayed at the next start."""
    global _journal  # noqa: PLW0603
    with _journal_lock:
        if _journal is not None and _journal[0] == os.getpid():
            _journal[2].stop(within_seconds=within_seconds)
            _journal[1].close()
        _journal = None


class Runtime:
    """Everything a call needs without a round trip to the database."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.journal = get_journal()
        self.loader = Loader()
        self.callers = CallerCache(self.loader)
        self.catalogue = Catalogue(self.loader)
        self.cache = AnswerStore(self.loader)
        self.limiter = Limiter()
        self.holders = HolderMarks(self.journal)
        self.budgets = Budgets(self.loader, mark=self.holders.mark)
        self.sessions = Sessions()
        self.sharing = Sharing()
        self.health = self.sharing.health
        self.watched: set[Watched] = set()
        self.presence = Presence(lambda: self.watched)
        self.closing: list[Callable[[], Awaitable[None]]] = []
        """Awaited before anything is let go of: work that has to come to its end first."""
        self._rechecks: set[asyncio.Task[None]] = set()
        self._listener = Listener(
            on_identity=self._identity_changed,
            on_catalogue=self.catalogue.refresh,
            on_hearing=self._hearing_changed,
            others={
                HEALTH_CHANNEL: self.sharing.hear,
                BUDGETS_CHANNEL: self.budgets.hear,
                CALLS_CHANNEL: self.presence.hear,
            },
        )
        self._ticker = self.loop.create_task(self._tick())

    async def close(self) -> None:
        """Let go of connections and threads; the journal stays with the process."""
        for close in self.closing:
            await close()
        self._ticker.cancel()
        await asyncio.gather(self._ticker, return_exceptions=True)
        await self._listener.close()
        await self.presence.close()
        await self.sharing.close()
        await self.cache.settle()
        await self.limiter.close()
        await self.budgets.close()
        self.holders.close()
        await self.sessions.close()
        self.loader.close()
        if _runtimes.get(self.loop) is self:
            del _runtimes[self.loop]

    def session_for(self, route: Route) -> HttpSession:
        """Return the HTTP session that calls to a provider go through."""
        return self.sessions.choose(route.target.base_url, is_operators=route.is_operators)

    async def _tick(self) -> None:
        while True:
            now = self.loop.time()
            self.catalogue.tick(now)
            self.sharing.tick(now)
            self.limiter.tick(now)
            self.budgets.tick()
            self.cache.tick(now)
            self.presence.tick(now)
            IN_FLIGHT.set(len(self.watched))
            for watched in tuple(self.watched):
                watched.tick(now)
            await asyncio.sleep(TICK_SECONDS)

    def _identity_changed(self, changed_id: str) -> None:
        self.callers.forget(changed_id)
        self._recheck(watched for watched in tuple(self.watched) if watched.concerns(changed_id))

    def _hearing_changed(self, hears: bool) -> None:
        self.callers.trust(hears_changes=hears)
        self.budgets.trust(hears=hears)
        self.catalogue.refresh()
        if hears:
            self.sharing.catch_up()
            self._recheck(tuple(self.watched))

    def _recheck(self, calls: Iterable[Watched]) -> None:
        for call in calls:
            task = self.loop.create_task(call.recheck())
            self._rechecks.add(task)
            task.add_done_callback(self._rechecks.discard)


def get_runtime() -> Runtime:
    """Return the running loop's runtime."""
    loop = asyncio.get_running_loop()
    runtime = _runtimes.get(loop)
    if runtime is None:
        runtime = _runtimes[loop] = Runtime()
    return runtime


__all__ = ["Runtime", "Watched", "close_journal", "get_journal", "get_runtime"]
