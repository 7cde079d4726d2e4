"""The catalogue in memory: read once, read again when it changes, kept while the database is down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from apps.gateway.errors import CatalogueUnreachable
from apps.gateway.runtime.loading import UNREACHABLE, Loader
from apps.gateway.selectors.catalogue import Snapshot, load_snapshot

logger = structlog.get_logger(__name__)

REFRESH_SECONDS = 15.0
"""How late a price that begins, or a change nobody told us of, is noticed at the latest."""


class Catalogue:
    """The newest snapshot. One per event loop."""

    def __init__(self, loader: Loader, *, load: Callable[[], Snapshot] = load_snapshot) -> None:
        self.snapshot: Snapshot | None = None
        self._loader = loader
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._loading: asyncio.Task[None] | None = None
        self._is_outdated = False
        self._due = float("-inf")

    async def ready(self) -> Snapshot:
        """Return a snapshot. Raise CatalogueUnreachable before the first one could be read."""
        if self.snapshot is None:
            if self._loading is None or self._loading.done():
                self._begin()
            assert self._loading is not None
            await asyncio.shield(self._loading)
            if self.snapshot is None:
                raise CatalogueUnreachable(
                    "The model catalogue cannot be read, because the database does not answer; try again shortly."
                )
        return self.snapshot

    async def reload(self) -> Snapshot:
        """Read the catalogue now and return what is held then: the new snapshot, or the last one that could be read."""
        self.refresh()
        assert self._loading is not None
        await asyncio.shield(self._loading)
        return await self.ready()

    def refresh(self) -> None:
        """Read the catalogue again, in the background."""
        if self._loading is not None and not self._loading.done():
            self._is_outdated = True
            return
        self._begin()

    def tick(self, now: float) -> None:
        """Read it again when its time has come."""
        if now >= self._due:
            self.refresh()

    def _begin(self) -> None:
        self._due = self._loop.time() + REFRESH_SECONDS
        self._loading = self._loop.create_task(self._read())

    async def _read(self) -> None:
        while True:
            self._is_outdated = False
            try:
                self.snapshot = await self._loader.load(self._load)
            except UNREACHABLE as error:
                logger.warning("catalogue_unreachable", error=f"{type(error).__name__}: {error}"[:200])
                return
            except Exception:
                # A catalogue that cannot be understood must not take the last good one away.
                logger.exception("catalogue_unreadable")
                return
            if not self._is_outdated:
                return
