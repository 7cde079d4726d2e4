"""One connection: one request and its answer at a time, and then the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from apps.core.http.errors import AnswerBroken, AnswerCut, ConnectionCut, HttpError, ReadTimedOut
from apps.core.http.response import Response

MAX_HEAD_BYTES = 256 * 1024
"""Of an answer's status line and headers together; real ones have one or two kilobytes."""
JOINED_BYTES = 64 * 1024
"""Up to this size, head and body of a request are one write."""
NO_BODY = frozenset({204, 304})


class Connection(asyncio.Protocol):
    """Sends requests and hands out what comes back. `on_free` is told when it can serve the next."""

    __slots__ = (
        "_has_ended", "_head_bytes", "_heard_at", "_is_interim", "_is_large", "_is_until_close", "_is_unwanted", "_loop",
        "_on_free", "_on_lost", "_parser", "_read_seconds", "_response", "_transport", "_watch", "_watch_at", "is_usable",
    )  # fmt: skip

    def __init__(self, *, on_free: Callable[[Connection], None], on_lost: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_free = on_free
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._response: Response | None = None
        self._has_ended = False
        self._head_bytes = 0
        self._is_interim = False
        self._is_until_close = False
        self._read_seconds = 0.0
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._watch_at = 0.0
        self.is_usable = False
        """Nobody uses it, and nothing is wrong with it."""
        self._is_large = False
        self._is_unwanted = False

    def ask(self, head: bytes, body: bytes, *, read_seconds: float) -> Response:
        """Send a request; its answer may be silent for `read_seconds` at a time."""
        assert self._transport is not None
        self.is_usable = False
        self._response = response = Response(self)
        self._head_bytes = 0
        self._read_seconds = read_seconds
        self._heard_at = now = self._loop.time()
        # The clock of the last request runs on and is set again when it strikes: cheaper than one for each.
        if self._watch is None or self._watch_at > now + read_seconds:
            self._set_watch(now + read_seconds)
        self._is_large = len(body) > JOINED_BYTES
        if not self._is_large:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        return response

    def abort(self) -> None:
        """Close at once, or as soon as it stands."""
        self.is_usable = False
        self._is_unwanted = True
        if self._transport is not None:
            self._transport.abort()

    # For the response

    def pause(self) -> None:
        """Read no more for now."""
        assert self._transport is not None
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._heard_at = self._loop.time()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def part_with(self, response: Response, *, within_seconds: float) -> None:
        """Let the rest of a response come and be dropped, for so long; then close."""
        if response is not self._response:
            return
        if not within_seconds or self._transport is None:
            self.abort()
            return
        self._response = rest = _Dropped(self)
        self.resume()
        self._loop.call_later(within_seconds, self._give_up, rest)

    # For the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by name
        if self._is_unwanted:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        response = self._response
        if response is None:
            self.abort()  # an answer without a question
            return
        self._heard_at = self._loop.time()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(AnswerBroken(f"The answer is not HTTP: {type(error).__name__}."))
            return
        if not response.status:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._fail(AnswerBroken(f"The answer's headers are longer than {MAX_HEAD_BYTES} bytes."))
                return
        response.wake()

    def eof_received(self) -> None:
        """Hang up: no answer comes any more, and nobody reads what we still had to send."""
        self._has_ended = True
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self.is_usable = False
        self._transport = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._on_lost(self)
        response, self._response = self._response, None
        if response is None:
            return
        if response.status and self._is_until_close and self._has_ended and exc is None:
            response.end()
        elif response.status or self._head_bytes:
            response.end(AnswerCut("The connection was closed before the end of the answer."))
        else:
            response.end(ConnectionCut("The connection was closed without an answer."))

    # For the parser

    def on_message_begin(self) -> None:
        """Take note of an answer, also of one without a question."""
        if self._response is None:
            raise AnswerBroken("An answer without a question.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; of several of one name the last one holds."""
        response = self._response
        assert response is not None
        if response.status:  # a trailer: the headers are settled
            self._head_bytes += len(name) + len(value)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise AnswerBroken(f"The answer's trailers are longer than {MAX_HEAD_BYTES} bytes.")
            return
        response.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Take the status, unless it only says that the answer is still to come."""
        response = self._response
        assert response is not None
        status = self._parser.get_status_code()
        if status < 100:
            raise AnswerBroken(f"The answer has the status {status}.")
        self._is_interim = status < 200
        if self._is_interim:
            response.headers.clear()
            return
        headers = response.headers
        is_sized = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
        self._is_until_close = not is_sized and status not in NO_BODY
        response.status = status

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        assert self._response is not None
        if self._is_interim:
            raise AnswerBroken("An interim answer cannot have a body.")
        self._response.take(data)

    def on_message_complete(self) -> None:
        """End the answer; the connection may serve again."""
        response = self._response
        assert response is not None
        if self._is_interim:
            return
        self._response = None
        response.end()
        if response.is_paused:
            # Its reader holds all that there is; the next answer must not wait for it.
            response.is_paused = False
            self.resume()
        if (
            self._parser.should_keep_alive()
            and self._transport is not None
            and not self._transport.is_closing()
            # A large request may be refused before it has been sent, and TLS transports do not tell how much is left.
            and not (self._is_large and response.status >= 400)
        ):
            self.is_usable = True
            self._on_free(self)
        else:
            self.abort()

    def _fail(self, error: HttpError) -> None:
        response, self._response = self._response, None
        self.abort()
        if response is not None:
            response.end(error)

    def _give_up(self, rest: Response) -> None:
        if self._response is rest:
            self.abort()

    def _set_watch(self, at: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_at(at, self._look_at_the_clock)
        self._watch_at = at

    def _look_at_the_clock(self) -> None:
        self._watch = None
        if self._response is None:
            return
        if self._response.is_paused:
            self._heard_at = self._loop.time()
        due = self._heard_at + self._read_seconds
        if due <= self._loop.time():
            self._fail(ReadTimedOut(f"Nothing came for {self._read_seconds:g} s."))
        else:
            self._set_watch(due)


class _Dropped(Response):
    """The rest of an answer that nobody reads."""

    __slots__ = ()

    def __init__(self, line: Connection) -> None:
        super().__init__(line)
        self.status = 200

    def take(self, data: bytes) -> None:
        """Drop it."""
