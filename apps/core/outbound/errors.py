"""Failures of outbound calls."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from apps.core.errors import DependencyDown, Unprocessable


class FailureKind(StrEnum):
    """Why an outbound call brought no answer. Stored with webhook attempts and counted in metrics."""

    REFUSED = "refused"  # by the guard, nothing was sent
    CIRCUIT_OPEN = "circuit_open"  # by the breaker, nothing was sent
    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    CUT = "cut"


class OutboundRefused(Unprocessable):
    """The guard does not let this URL be called. The message says which part of it, and what would be let through."""

    code, title = "core.outbound_refused", "This URL may not be called"
    kind = FailureKind.REFUSED


class OutboundFailed(DependencyDown):
    """The remote side gave no usable answer; `kind` says how it failed."""

    code, title = "core.outbound_failed", "The remote server did not answer"

    def __init__(self, message: str, *, kind: FailureKind, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.kind = kind


class CircuitOpen(OutboundFailed):
    """The remote side failed several times in a row and rests until `retry_after_seconds` have passed."""

    code, title = "core.circuit_open", "The remote server is given a rest"

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message, kind=FailureKind.CIRCUIT_OPEN, retry_after_seconds=retry_after_seconds)
