"""HTTP to providers: one place that turns what networks do into the port's errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import orjson

from apps.core.http import (
    AddressInvalid,
    AnswerBroken,
    AnswerCut,
    ConnectFailed,
    ConnectionCut,
    ConnectTimedOut,
    HeaderInvalid,
    HttpError,
    HttpSession,
    ReadTimedOut,
    Response,
)
from apps.gateway.providers.base import (
    Chunk,
    Target,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from apps.gateway.providers.refusals import error_from_object, error_from_response, status_of

MAX_BODY_BYTES = 128 * 1024 * 1024
MAX_ERROR_BODY_BYTES = 64 * 1024
DRAIN_SECONDS = 1.0
"""How long the end of a body may take that says nothing any more. It usually comes just after the last event."""


class StreamTranslator(Protocol):
    """Turns the reads of one streamed response into chunks. One instance per call."""

    is_complete: bool

    def feed(self, read: bytes, chunks: list[Chunk]) -> None:
        """Append the chunks that `read` completes. What was appended before an error is still delivered."""
        ...

    def close(self, chunks: list[Chunk]) -> None:
        """Append what the end of the response completes; raise `UpstreamBroken` when the answer was cut."""
        ...


async def open_response(
    *,
    session: HttpSession,
    target: Target,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> Response:
    """Send a request (POST when there is a body) and return the successful response, its body still unread.

    Redirects are not followed: they would carry the credential to an address nobody configured.
    """
    try:
        response = await session.request(
            "GET" if body is None else "POST",
            url,
            headers=headers,
            body=body,
            connect_seconds=target.connect_timeout_seconds,
            read_seconds=target.read_timeout_seconds,
        )
    except HttpError as error:
        raise _network_error(target, error) from error
    if 200 <= response.status < 300:
        return response
    try:
        content = await _read_error_body(response)
    finally:
        response.close()
    raise error_from_response(target=target, status=response.status, headers=response.headers, body=content)


async def fetch(
    *,
    session: HttpSession,
    target: Target,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> tuple[bytes, Mapping[str, str]]:
    """Send a request and return the body and the headers of the successful response."""
    response = await open_response(session=session, target=target, url=url, headers=headers, body=body)
    try:
        return await _read_body(response, target), response.headers
    finally:
        # A response read to its end has already given its connection back; closing it then changes nothing.
        response.close()


async def stream_chunks(
    *,
    session: HttpSession,
    target: Target,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    translator: StreamTranslator,
) -> AsyncIterator[list[Chunk]]:
    """Yield what `translator` makes of each network read of the response."""
    response = await open_response(session=session, target=target, url=url, headers=headers, body=body)
    # Some servers refuse a stream with status 200 and an error in JSON, which no translator of events can read.
    is_json = response.content_type == "application/json"
    first = b""
    try:
        while not translator.is_complete:
            read = await _read_some(response, target)
            chunks: list[Chunk] = []
            if is_json and len(first) < MAX_ERROR_BODY_BYTES:
                first += read
            try:
                if read:
                    translator.feed(read, chunks)
                else:
                    translator.close(chunks)
            except UpstreamError as error:
                if chunks:
                    yield chunks
                raise _error_within(first, target) or error from None
            if chunks:
                yield chunks
            if not read:
                return
    finally:
        # Also when the caller leaves after the last chunk: a complete answer's connection can serve another call.
        if translator.is_complete:
            response.let_go(within_seconds=DRAIN_SECONDS)
        else:
            response.close()


def _error_within(content: bytes, target: Target) -> UpstreamError | None:
    try:
        payload = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    error = payload.get("error") if isinstance(payload, dict) else None
    return error_from_object(target=target, status=status_of(error), error=error) if error else None


async def _read_some(response: Response, target: Target) -> bytes:
    try:
        return await response.read()
    except HttpError as error:
        raise _network_error(target, error) from error


async def _read_body(response: Response, target: Target) -> bytes:
    reads: list[bytes] = []
    size = 0
    while read := await _read_some(response, target):
        size += len(read)
        if size > MAX_BODY_BYTES:
            raise UpstreamBroken(
                f"Provider {target.provider!r} sent more than {MAX_BODY_BYTES} bytes.", is_retryable=False
            )
        reads.append(read)
    return reads[0] if len(reads) == 1 else b"".join(reads)


async def _read_error_body(response: Response) -> bytes:
    # The status alone says enough: a body that cannot be read must not hide it.
    content = b""
    try:
        while len(content) < MAX_ERROR_BODY_BYTES and (read := await response.read()):
            content += read
    except HttpError:
        pass
    return content[:MAX_ERROR_BODY_BYTES]


_NETWORK_ERRORS: dict[type[HttpError], tuple[type[UpstreamError], int | None, bool, str]] = {
    AddressInvalid: (UpstreamUnavailable, None, False, "has an address that cannot be used"),
    HeaderInvalid: (UpstreamUnavailable, None, False, "has a credential or header that cannot be sent"),
    ConnectTimedOut: (UpstreamTimedOut, None, True, "could not be reached in time"),
    ConnectFailed: (UpstreamUnavailable, None, True, "cannot be reached"),
    ConnectionCut: (UpstreamUnavailable, 502, True, "closed the connection without an answer"),
    ReadTimedOut: (UpstreamTimedOut, None, True, "sent nothing for too long"),
    AnswerBroken: (UpstreamBroken, None, True, "does not speak HTTP as expected"),
    AnswerCut: (UpstreamBroken, None, True, "cut its answer short"),
}


def _network_error(target: Target, error: HttpError) -> UpstreamError:
    answer, status, is_retryable, words = _NETWORK_ERRORS[type(error)]
    return answer(f"Provider {target.provider!r} {words}.", status=status, is_retryable=is_retryable)
