"""One Lua script on a Redis connection of its own, for the path that every call takes.

redis-py dials, so every form of REDIS_URL works; after that this module writes to and reads from the connection itself,
because the client's layers cost several times what the script does. hiredis packs and parses.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
import redis.asyncio
from django.conf import settings
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from apps.core.redis import CONNECT_TIMEOUT_SECONDS

Answered = Callable[[bytes | Exception], None]
"""Gets what the script returned, or why it did not run: a RedisError or OSError, or what packing its words raised."""


class ScriptLine:
    """Runs a script again and again; its runs may overlap. One per event loop.

    An answer that takes longer than `timeout_seconds` breaks the connection: its place in the order is unknown from then
    on. The next run dials anew.
    """

    def __init__(self, script: str, *, timeout_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._script = script.encode()
        self._digest = hashlib.sha1(self._script).hexdigest().encode()  # noqa: S324 - how Redis names scripts
        self._timeout_seconds = timeout_seconds
        self._wire: _Wire | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._early: list[tuple[tuple[bytes | str, ...], Answered]] = []

    def run(self, keys: Sequence[str], arguments: Sequence[bytes | str], answered: Answered) -> None:
        """Run the script; `answered` is called once, from the loop, and must not raise."""
        words = (str(len(keys)), *keys, *arguments)
        if self._wire is not None and self._wire.is_open:
            self._send(self._wire, words, answered)
            return
        self._early.append((words, answered))
        if self._dialling is None:
            self._dialling = self._loop.create_task(self._dial())

    async def close(self) -> None:
        """Hang up. What is still waited for fails."""
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)
            # A task that was cancelled before its first step has cleared nothing away.
            self._dialling = None
            early, self._early = self._early, []
            for _, answered in early:
                answered(RedisConnectionError("The connection was closed."))
        if self._wire is not None:
            self._wire.hang_up(RedisConnectionError("The connection was closed."))
            self._wire = None

    def _send(self, wire: _Wire, words: tuple[bytes | str, ...], answered: Answered) -> None:
        def check(answer: bytes | Exception) -> None:
            if isinstance(answer, ResponseError) and str(answer).startswith("NOSCRIPT") and wire.is_open:
                wire.send((b"EVAL", self._script, *words), answered)
            else:
                if isinstance(answer, ResponseError) and str(answer).startswith("READONLY"):
                    wire.hang_up(RedisConnectionError("This Redis was demoted."))  # its name may lead to another by now
                answered(answer)

        wire.send((b"EVALSHA", self._digest, *words), check)

    async def _dial(self) -> None:
        failure: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                self._wire = await _dial(self._timeout_seconds)
        except (RedisError, OSError, TimeoutError) as error:
            failure = error
        except asyncio.CancelledError:
            failure = RedisConnectionError("The connection was closed.")
            raise
        finally:
            self._dialling = None
            early, self._early = self._early, []
            for words, answered in early:
                if failure is not None or self._wire is None:
                    answered(failure or RedisConnectionError("The connection was closed."))
                    continue
                try:
                    self._send(self._wire, words, answered)
                except Exception as error:  # what cannot be packed concerns nobody else
                    answered(error)


class _Wire(asyncio.Protocol):
    """A connection that was dialled: commands go out, and answers come back in their order."""

    def __init__(self, connection: Any, transport: asyncio.Transport, timeout_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection  # kept: it closes its transport when it is let go of
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._waiting: deque[tuple[float, Answered]] = deque()
        self._reader = hiredis.Reader(replyError=ResponseError)
        self._watch: asyncio.TimerHandle | None = None
        self.is_open = True

    def send(self, words: tuple[bytes | str, ...], answered: Answered) -> None:
        """Send a command; `answered` gets its answer."""
        command = hiredis.pack_command(words)  # type: ignore[arg-type]  # may raise, so before anybody waits
        self._waiting.append((self._loop.time() + self._timeout_seconds, answered))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_seconds, self._look_at_the_clock)
        self._transport.write(command)

    def data_received(self, data: bytes) -> None:
        """Hand out the answers that have come."""
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not False:
                if not self._waiting:
                    self.hang_up(RedisConnectionError("Redis answered what nobody had asked."))
                    return
                self._waiting.popleft()[1](answer)
        except hiredis.ProtocolError as error:
            self.hang_up(RedisConnectionError(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self.hang_up(RedisConnectionError(f"Redis closed the connection: {exc or 'end of stream'}."))

    def hang_up(self, reason: Exception) -> None:
        """Close the connection; whoever waits gets the reason."""
        self.is_open = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for _, answered in waiting:
            answered(reason)

    def _look_at_the_clock(self) -> None:
        # One timer at a time, set again only while somebody waits: cheaper than one for each command.
        self._watch = None
        if not self._waiting:
            return
        due = self._waiting[0][0]
        if due <= self._loop.time():
            self.hang_up(RedisTimeout(f"Redis did not answer within {self._timeout_seconds:g} s."))
        else:
            self._watch = self._loop.call_at(due, self._look_at_the_clock)


async def _dial(timeout_seconds: float) -> _Wire:
    # RESP2: answers only, in the order of the commands.
    pool = redis.asyncio.ConnectionPool.from_url(
        settings.REDIS_URL, protocol=2, socket_connect_timeout=CONNECT_TIMEOUT_SECONDS, socket_timeout=timeout_seconds
    )
    connection = pool.make_connection()
    try:
        await connection.connect()
        transport = connection._writer.transport
    except BaseException:
        with contextlib.suppress(Exception):
            await connection.disconnect(nowait=True)
        raise
    wire = _Wire(connection, transport, timeout_seconds)
    transport.set_protocol(wire)
    return wire
