"""The request that the running code serves: for log lines, row-change triggers and outbound headers.

Business code takes an explicit `Actor`; this is only what must reach places that no argument reaches.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from apps.core.actor import ANONYMOUS, Actor
from apps.core.ids import encode_id, uuid7

_request_id: ContextVar[str] = ContextVar("portico_request_id", default="")
_actor: ContextVar[Actor] = ContextVar("portico_actor", default=ANONYMOUS)


def new_request_id() -> str:
    """Return a fresh request id, `req_…`."""
    return encode_id("req", uuid7())


def current_request_id() -> str:
    """Return the id of the request being served, or ""."""
    return _request_id.get()


def current_actor() -> Actor:
    """Return who is being served; ANONYMOUS outside any request."""
    return _actor.get()


def set_request_id(value: str) -> None:
    """Set the request id for the rest of this task or thread."""
    _request_id.set(value)


def set_actor(value: Actor) -> None:
    """Set the actor for the rest of this task or thread."""
    _actor.set(value)


@contextmanager
def bound(*, actor: Actor, request_id: str = "") -> Iterator[None]:
    """Serve as `actor` within the block; an empty request id keeps the actor's own or the present one."""
    actor_token = _actor.set(actor)
    id_token = _request_id.set(request_id or actor.request_id or _request_id.get())
    try:
        yield
    finally:
        _actor.reset(actor_token)
        _request_id.reset(id_token)
