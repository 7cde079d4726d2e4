"""HTTP to providers: one place that turns what networks do into the port's errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import lru_cache
from typing import Protocol

import aiohttp
import orjson
from yarl import URL

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

_draining: set[asyncio.Task[None]] = set()


class StreamTranslator(Protocol):
    """Turns the reads of one streamed response into chunks. One instance per call."""

    is_complete: bool

    def feed(self, read: bytes, chunks: list[Chunk]) -> None:
        """Append the chunks that `read` completes. What was appended before an error is still delivered."""
        ...

    def close(self, chunks: list[Chunk]) -> None:
        """Append what the end of the response completes; raise `UpstreamBroken` when the answer was cut."""
        ...


@lru_cache(maxsize=256)
def _timeout(connect_seconds: float, read_seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None, connect=connect_seconds, sock_connect=connect_seconds, sock_read=read_seconds
    )


@lru_cache(maxsize=1024)
def _url(address: str) -> URL:
    return URL(address)


async def open_response(
    *,
    session: aiohttp.ClientSession,
    target: Target,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> aiohttp.ClientResponse:
    """Send a request (POST when there is a body) and return the successful response, its body still unread.

    Redirects are not followed: they would carry the credential to an address nobody configured.
    """
    try:
        response = await session.request(
            "GET" if body is None else "POST",
            _url(url),
            data=body,
            headers=headers,
            timeout=_timeout(target.connect_timeout_seconds, target.read_timeout_seconds),
            allow_redirects=False,
        )
    except (aiohttp.ClientError, OSError, ValueError) as error:
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
    session: aiohttp.ClientSession,
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
    session: aiohttp.ClientSession,
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
            _recycle(response)
        else:
            response.close()


async def finish_draining() -> None:
    """Wait until the ends of answered streams have been read, at most a second: before a session is closed."""
    await asyncio.gather(*_draining)


def _error_within(content: bytes, target: Target) -> UpstreamError | None:
    try:
        payload = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    error = payload.get("error") if isinstance(payload, dict) else None
    return error_from_object(target=target, status=status_of(error), error=error) if error else None


def _recycle(response: aiohttp.ClientResponse) -> None:
    # The end of the chunked body usually arrives just after the last event. Waiting for it keeps the connection
    # for the next call, but must not delay this one's last byte: hence a task of its own.
    if response.content.at_eof():
        response.release()
        return
    task = asyncio.get_running_loop().create_task(_drain(response))
    _draining.add(task)
    task.add_done_callback(_draining.discard)


async def _drain(response: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while await response.content.readany():
                pass
    except (aiohttp.ClientError, OSError):
        pass
    finally:
        response.close()


async def _read_some(response: aiohttp.ClientResponse, target: Target) -> bytes:
    try:
        return await response.content.readany()
    except aiohttp.ClientPayloadError as error:
        raise UpstreamBroken(f"Provider {target.provider!r} cut its answer short.") from error
    except (aiohttp.ClientError, OSError) as error:
        raise _network_error(target, error) from error


async def _read_body(response: aiohttp.ClientResponse, target: Target) -> bytes:
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


async def _read_error_body(response: aiohttp.ClientResponse) -> bytes:
    # The status alone says enough: a body that cannot be read must not hide it.
    content = b""
    try:
        while len(content) < MAX_ERROR_BODY_BYTES and (read := await response.content.readany()):
            content += read
    except (aiohttp.ClientError, OSError):
        pass
    return content[:MAX_ERROR_BODY_BYTES]


# The first that matches. ValueError is a header that cannot be sent, such as a credential with a line break in it.
_NETWORK_ERRORS: tuple[tuple[type[Exception], type[UpstreamError], int | None, bool, str], ...] = (
    (aiohttp.ConnectionTimeoutError, UpstreamTimedOut, None, True, "could not be reached in time"),
    (TimeoutError, UpstreamTimedOut, None, True, "sent nothing for too long"),
    (aiohttp.InvalidURL, UpstreamUnavailable, None, False, "has an address that cannot be used"),
    (aiohttp.NonHttpUrlClientError, UpstreamUnavailable, None, False, "has an address that cannot be used"),
    (aiohttp.ClientConnectorError, UpstreamUnavailable, None, True, "cannot be reached"),
    (aiohttp.ClientConnectionError, UpstreamUnavailable, 502, True, "closed the connection without an answer"),
    (OSError, UpstreamUnavailable, 502, True, "closed the connection without an answer"),
    (aiohttp.ClientError, UpstreamBroken, None, True, "does not speak HTTP as expected"),
    (ValueError, UpstreamUnavailable, None, False, "has a credential or header that cannot be sent"),
)


def _network_error(target: Target, error: Exception) -> UpstreamError:
    _, answer, status, is_retryable, words = next(row for row in _NETWORK_ERRORS if isinstance(error, row[0]))
    return answer(f"Provider {target.provider!r} {words}.", status=status, is_retryable=is_retryable)
