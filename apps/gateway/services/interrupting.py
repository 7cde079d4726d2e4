"""Waits that another task of the loop can end at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from apps.core.errors import AppError

T = TypeVar("T")


class Interrupted(Exception):
    """The wait was ended from another task."""


class Interruption:
    """Ends what one reading task waits for, now and from now on. At most one task waits at a time."""

    __slots__ = ("_reader", "error", "has_come")

    def __init__(self) -> None:
        self.has_come = False
        self.error: AppError | None = None
        """What the reader is to be told; None when nobody is there to be told."""
        self._reader: asyncio.Task[object] | None = None

    @property
    def hits_another(self) -> bool:
        """Tell whether somebody else than the current task is waiting."""
        return self._reader is not None and self._reader is not asyncio.current_task()

    def come(self, error: AppError | None) -> None:
        """End the wait under way, and every later one; only the first time counts."""
        if self.has_come:
            return
        self.has_come = True
        self.error = error
        if self._reader is not None:
            self._reader.cancel()

    async def wait(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns. Raise Interrupted when this has come, or comes meanwhile."""
        if self.has_come:
            raise Interrupted
        self._reader = reader = asyncio.current_task()
        try:
            return await work()
        except asyncio.CancelledError:
            if self.has_come and reader is not None:
                # The cancellation was this one's way to end the wait: it is undone, and told apart from all others.
                reader.uncancel()
                raise Interrupted from None
            raise
        finally:
            self._reader = None
