"""The client for URLs that users give: guarded, pinned, bounded in time and size, measured, broken off when hopeless."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpcore
import httpx

from apps.core.context import current_request_id
from apps.core.outbound import breaker
from apps.core.outbound.breaker import Circuit
from apps.core.outbound.errors import CircuitOpen, FailureKind, OutboundFailed, OutboundRefused
from apps.core.outbound.guard import Destination, Resolver, resolve_target
from apps.core.outbound.recording import record_call
from apps.core.outbound.transport import Deadline, PinnedTransport

USER_AGENT = "Portico/3.0"
# Set by the transport or by us; what a caller names here would change where or how the request arrives.
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "user-agent"})


@dataclass(frozen=True, slots=True)
class OutboundResponse:
    """An answer of any status. `body` is as sent, undecoded, cut after the client's `max_bytes` (`is_truncated`)."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_truncated: bool
    duration_ms: int

    @property
    def text(self) -> str:
        """Return the body as text for people; what is no UTF-8 is replaced, NUL is left out."""
        return self.body.decode("utf-8", "replace").replace("\x00", "")


@dataclass(frozen=True, slots=True)
class OutboundClient:
    """A client for one purpose (a short word, the label of its metrics).

    `total_seconds` bounds the whole call from the first packet to the last, name look-up excepted (5 s of its own);
    `connect_seconds` and `read_seconds` bound single steps; `max_bytes` bounds the body that is read.
    """

    purpose: str
    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    total_seconds: float = 15.0
    max_bytes: int = 1024 * 1024
    resolver: Resolver | None = None

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        circuit: Circuit | None = None,
    ) -> OutboundResponse:
        """Send one request and return its answer, whatever the status; redirects are answers.

        Raise OutboundRefused when the guard says no, CircuitOpen while the circuit rests, OutboundFailed when there is
        no answer. Must not be called while a transaction is open: it may take `total_seconds`.
        """
        started = time.monotonic()
        host, status, outcome = "", None, ""
        try:
            if circuit is not None:
                breaker.enter(circuit)
            destination = resolve_target(url, resolver=self.resolver)
            host = destination.target.host
            response = self._exchange(method, destination, headers or {}, body, started)
            status, outcome = response.status, f"{response.status // 100}xx"
        except (OutboundRefused, OutboundFailed) as error:
            outcome = error.kind.value
            if circuit is not None and not isinstance(error, CircuitOpen):
                breaker.record_failure(circuit, error.kind)
            raise
        finally:
            seconds = time.monotonic() - started
            record_call(
                purpose=self.purpose,
                method=method,
                host=host,
                status=status,
                outcome=outcome or "defect",
                duration_seconds=seconds,
            )
        if circuit is not None:
            breaker.record_success(circuit)
        return response

    def _exchange(
        self, method: str, destination: Destination, headers: Mapping[str, str], body: bytes, started: float
    ) -> OutboundResponse:
        transport = PinnedTransport(destination.addresses, Deadline(self.total_seconds))
        timeout = httpx.Timeout(self.read_seconds, connect=self.connect_seconds)
        try:
            with (
                httpx.Client(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False) as client,
                client.stream(method, destination.target.url, headers=_complete(headers), content=body) as response,
            ):
                content, is_truncated = self._read(response)
                return OutboundResponse(
                    status=response.status_code,
                    headers=dict(response.headers),
                    body=content,
                    is_truncated=is_truncated,
                    duration_ms=round((time.monotonic() - started) * 1000),
                )
        except (httpcore.LocalProtocolError, UnicodeError) as error:
            raise OutboundRefused("The request cannot be sent: a header has characters that HTTP forbids.") from error
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _failure(destination, error) from error

    def _read(self, response: httpx.Response) -> tuple[bytes, bool]:
        # Raw: a compressed body is never unpacked, so a small one cannot become a large one.
        content = bytearray()
        for part in response.iter_raw():
            content += part
            if len(content) > self.max_bytes:
                return bytes(content[: self.max_bytes]), True
        return bytes(content), False


def _complete(headers: Mapping[str, str]) -> dict[str, str]:
    sent = {name: value for name, value in headers.items() if name.lower() not in _OURS}
    sent |= {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if request_id := current_request_id():
        sent.setdefault("X-Request-Id", request_id)
    return sent


def _failure(destination: Destination, error: Exception) -> OutboundFailed:
    name = f"{destination.target.host}:{destination.target.port}"
    if isinstance(error, httpcore.TimeoutException):
        return OutboundFailed(f"{name} did not answer in time.", kind=FailureKind.TIMEOUT)
    if isinstance(error.__cause__ or error.__context__, ssl.SSLError):
        cause = error.__cause__ or error.__context__
        return OutboundFailed(f"{name} offers no trustworthy TLS: {cause}.", kind=FailureKind.TLS)
    if isinstance(error, httpcore.ConnectError):
        return OutboundFailed(f"{name} cannot be reached: {error}.", kind=FailureKind.CONNECT)
    if isinstance(error, httpcore.NetworkError | httpcore.RemoteProtocolError) and "disconnect" in str(error).lower():
        return OutboundFailed(f"{name} closed the connection without an answer.", kind=FailureKind.CUT)
    if isinstance(error, httpcore.NetworkError):
        return OutboundFailed(f"{name} broke the connection off: {error}.", kind=FailureKind.CUT)
    return OutboundFailed(f"{name} does not speak HTTP as expected: {error}.", kind=FailureKind.PROTOCOL)
