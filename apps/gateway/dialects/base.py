"""What every wire format of callers gives: a request understood, an answer written, an error in its own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable
from uuid import UUID

from apps.core.errors import AppError
from apps.gateway.providers.base import Chunk, Completion, Usage

Headers = list[tuple[bytes, bytes]]

PING_SECONDS = 15.0
"""Longest silence of a stream: whoever stands between would take it for dead."""


class Answering(Protocol):
    """The call as a dialect sees it while it writes the answer."""

    request_id: UUID
    public_id: str
    model: str
    """The name that the caller asked for."""
    upstream_model: str
    """The name that the provider was asked for."""
    created: int
    """Unix seconds."""

    @property
    def prompt_estimate(self) -> int:
        """Return the tokens of the prompt, estimated before any provider counted them."""
        ...

    def settled_usage(self) -> Usage:
        """Return the usage of a call that has ended."""
        ...


@dataclass(slots=True)
class Asked:
    """A request, understood.

    `request` is the canonical form, an OpenAI chat-completions (or embeddings) object: what limits, guardrails, cache and
    providers see. `native` is the body as it came, where a provider of the same format may get it unchanged. `options` is
    the dialect's own memory of the request, for the way back. `native_only` says, in a sentence for the caller, why no other
    provider than one of the same format can have it; "" when any can.
    """

    request: dict[str, Any]
    native: dict[str, Any] | None = None
    options: Any = None
    native_only: str = ""


class EventWriter(Protocol):
    """Writes one streamed answer as server-sent events."""

    ping: bytes
    """What keeps a silent stream open."""

    def write(self, batch: list[Chunk]) -> bytes:
        """Return the events of one network read; may be empty."""
        ...

    def close(self) -> bytes:
        """Return the last events and the mark of the end. The call's usage is settled by now."""
        ...

    def fail(self, error: AppError) -> bytes:
        """Return the event of a failure after the beginning; nothing follows it."""
        ...


@runtime_checkable
class Dialect(Protocol):
    """A wire format. Implementations hold no state between calls, so that one instance serves a whole process."""

    name: ClassVar[str]
    """Such as `openai.chat`; what providers list in `native_dialects`."""
    endpoint: ClassVar[str]
    """The entrance in usage records."""
    kind: ClassVar[str]
    """The capability that the model needs."""
    id_header: ClassVar[bytes]
    """Header in which clients of this format look for the request's id, beside `x-request-id`; empty for none."""
    passed_on: ClassVar[tuple[bytes, ...]]
    """Headers of the client that a provider of the same format gets together with the native body."""

    def read(self, body: dict[str, Any]) -> Asked:
        """Understand a request. Raise ParameterMissing or ParameterInvalid, naming the field as the client knows it."""
        ...

    def write(self, completion: Completion, call: Answering, asked: Asked) -> bytes:
        """Return an answer in one piece, as JSON."""
        ...

    def writer(self, call: Answering, asked: Asked) -> EventWriter:
        """Return what writes a streamed answer."""
        ...

    def write_error(self, error: AppError, request_id: str) -> bytes:
        """Return a failure as JSON."""
        ...

    def error_headers(self, error: AppError, request_id: str) -> Headers:
        """Return what an answer's headers say of a failure."""
        ...

    def limit_headers(self, headers: Headers) -> Headers:
        """Return `x-ratelimit-*` headers as clients of this format look for them."""
        ...
