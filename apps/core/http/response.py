"""One answer, as it arrives."""

from __future__ import annotations

import asyncio
import zlib
from typing import Protocol

from apps.core.http.errors import AnswerBroken, AnswerCut, HttpError

MAX_HELD_BYTES = 256 * 1024
"""Bytes that wait for their reader; with more, the server is made to wait."""
MAX_DECODED_BYTES = 1024 * 1024
"""Most that one read of a compressed body gives, whatever it expands to."""
# Of zlib.decompressobj: gzip or zlib, by what the first bytes say.
_ANY_HEADER = 32 + zlib.MAX_WBITS


class Line(Protocol):
    """What a response needs of the connection that it comes over."""

    def pause(self) -> None:
        """Read no more for now."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def part_with(self, response: Response, *, within_seconds: float) -> None:
        """Let the rest of the response come and be dropped, for so long; then close."""
        ...


class Response:
    """The answer to one request. `status` and `headers` (names in lower case) hold once `begun` has returned.

    One task reads it. It must be read to its end, or closed, or let go of.
    """

    __slots__ = ("_decoder", "_error", "_has_body", "_is_whole", "_line", "_pieces", "_rest", "_size", "_waiter", "headers", "is_paused", "status")  # fmt: skip

    def __init__(self, line: Line) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._line = line
        self._pieces: list[bytes] = []
        self._size = 0
        self.is_paused = False
        """The server waits for our reader."""
        self._is_whole = False
        self._has_body = False
        self._rest = b""
        """What has come and is not decoded yet."""
        self._error: HttpError | None = None
        self._decoder: zlib._Decompress | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def content_type(self) -> str:
        """Return the media type without its parameters; "" when none is given."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def begun(self) -> None:
        """Return when the headers are there. Raise HttpError when they do not come."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding in {"gzip", "x-gzip", "deflate"}:
            self._decoder = zlib.decompressobj(_ANY_HEADER)
        elif encoding not in {"identity", ""}:
            raise AnswerBroken(f"The body is encoded as {encoding[:40]!r}, which was not asked for.")

    async def read(self) -> bytes:
        """Return what has come since the last read, waiting for something; empty at the end. Raise HttpError."""
        while True:
            if self._rest:
                await asyncio.sleep(0)  # what expands to a multiple of itself is not to hold up everybody else
                if data := self._decode(b""):
                    return data
            elif self._pieces:
                data = self._take()
                if self._decoder is None:
                    return data
                if data := self._decode(data):
                    return data
            elif self._error is not None:
                raise self._error
            elif self._is_whole:
                if self._decoder is not None and self._has_body and not self._decoder.eof:
                    raise AnswerCut("The compressed body is incomplete.")
                return b""
            else:
                await self._wait()

    def close(self) -> None:
        """Read no more; what is still to come closes the connection. Harmless after the end."""
        self._line.part_with(self, within_seconds=0)

    def let_go(self, *, within_seconds: float) -> None:
        """Read no more, but keep the connection for the next call if the rest comes soon."""
        self._line.part_with(self, within_seconds=within_seconds)

    # For the connection

    def take(self, data: bytes) -> None:
        """Take a part of the body."""
        self._pieces.append(data)
        self._has_body = True
        self._size += len(data)
        if self._size > MAX_HELD_BYTES and not self.is_paused:
            self.is_paused = True
            self._line.pause()

    def end(self, error: HttpError | None = None) -> None:
        """Take note that nothing more comes, because of `error` or because all is there."""
        self._is_whole = error is None
        self._error = error
        self.wake()

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _take(self) -> bytes:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self.is_paused:
            self.is_paused = False
            self._line.resume()
        return data

    def _decode(self, data: bytes) -> bytes:
        assert self._decoder is not None
        data = self._rest + data
        self._rest = b""
        if self._decoder.eof:
            if not data.startswith(b"\x1f"):
                return b""  # padding
            self._decoder = zlib.decompressobj(_ANY_HEADER)  # gzip may come in several members (RFC 1952, 2.2)
        try:
            decoded = self._decoder.decompress(data, MAX_DECODED_BYTES)
        except zlib.error as error:
            raise AnswerBroken(f"The compressed body cannot be read: {error}.") from None
        self._rest = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
        return decoded
