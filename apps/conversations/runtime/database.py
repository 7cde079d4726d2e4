"""The database from coroutines: a few threads of our own, each call with a connection that it gives back at once.

No connection is held between two calls, least of all while an upstream is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, close_old_connections
from psycopg_pool import PoolTimeout

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 4
# What a database that does not answer looks like; anything else is a defect or a refusal.
UNREACHABLE = (OperationalError, InterfaceError, PoolTimeout)

_threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="conversations-database")


async def in_database(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what a synchronous function says, run in one of our threads in a copy of the present context."""
    call = partial(copy_context().run, _call, function, args, kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


def _call(function: Callable[..., R], args: tuple[object, ...], kwargs: dict[str, object]) -> R:
    close_old_connections()
    try:
        return function(*args, **kwargs)
    finally:
        close_old_connections()
