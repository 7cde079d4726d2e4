"""Many callers at the same moment, each with a database connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connection

T = TypeVar("T")


def run_together(call: Callable[[], T], *, count: int) -> list[T | Exception]:
    """Release `count` threads into `call` at once; return what each returned or raised."""
    gate = Barrier(count)

    def run() -> T | Exception:
        try:
            gate.wait()
            return call()
        except Exception as error:  # the test looks at it
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(count)]]
