"""A script on a connection of its own: answers in order, and a clear failure for whoever waits when there are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pytest_django import Settings
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from apps.core.redis import get_redis
from apps.core.redis_line import ScriptLine
from tests.support.waiting import until

ECHO = "return KEYS[1] .. ':' .. ARGV[1]"


class Caller:
    """Awaits what a line answers."""

    def __init__(self, line: ScriptLine) -> None:
        self.line = line

    def begin(self, key: str, argument: bytes | str) -> asyncio.Future[bytes]:
        found: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def answered(answer: bytes | Exception) -> None:
            if isinstance(answer, Exception):
                found.set_exception(answer)
            else:
                found.set_result(answer)

        self.line.run([key], [argument], answered)
        return found

    async def ask(self, key: str, argument: bytes | str) -> bytes:
        return await self.begin(key, argument)


@pytest_asyncio.fixture
async def caller() -> AsyncIterator[Caller]:
    line = ScriptLine(ECHO, timeout_seconds=5)
    yield Caller(line)
    await line.close()


@pytest_asyncio.fixture
async def impostor(settings: Settings) -> AsyncIterator[list[bytes]]:
    """A server in Redis's place that agrees to everything, and answers a script with the words in the list."""
    words: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if b"EVAL" not in data:
                writer.write(b"+OK\r\n" * data.count(b"*"))
            elif words:
                writer.write(words[0])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    settings.REDIS_URL = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    yield words
    server.close()


def connections() -> set[str]:
    """Return the connections that ran a script last, of whoever is there."""
    return {client["id"] for client in get_redis().client_list() if client["cmd"].startswith("eval")}


async def test_runs_that_overlap_are_answered_in_their_order_on_one_connection(caller: Caller) -> None:
    before = connections()
    assert await caller.ask("first", b"\x00\xff") == b"first:\x00\xff"
    many = [caller.begin("key", str(number)) for number in range(200)]
    assert await asyncio.gather(*many) == [b"key:%d" % number for number in range(200)]
    assert len(connections() - before) == 1


async def test_runs_before_the_connection_stands_wait_for_it(caller: Caller) -> None:
    early = [caller.begin("key", str(number)) for number in range(3)]
    assert await asyncio.gather(*early) == [b"key:0", b"key:1", b"key:2"]


async def test_a_script_that_redis_forgot_is_sent_whole(caller: Caller) -> None:
    await caller.ask("key", "1")
    get_redis().script_flush()
    assert await asyncio.gather(*(caller.begin("key", str(number)) for number in range(2))) == [b"key:0", b"key:1"]


async def test_a_script_that_fails_says_so_and_the_connection_stays() -> None:
    line = ScriptLine("return KEYS[1] + 1", timeout_seconds=5)
    caller = Caller(line)
    with pytest.raises(ResponseError, match="attempt to perform arithmetic"):
        await caller.ask("word", "")
    assert line._wire is not None
    assert line._wire.is_open
    await line.close()


async def test_after_a_broken_connection_the_next_run_dials_anew(caller: Caller) -> None:
    before = connections()
    await caller.ask("key", "1")
    for connection in connections() - before:
        get_redis().client_kill_filter(_id=connection)
    wire = caller.line._wire
    await until(lambda: not wire.is_open)
    assert await caller.ask("key", "2") == b"key:2"


async def test_nobody_there_is_a_failure(caller: Caller, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(RedisConnectionError):
        await caller.ask("key", "1")


async def test_an_answer_that_does_not_come_breaks_the_connection(impostor: list[bytes]) -> None:
    caller = Caller(ScriptLine(ECHO, timeout_seconds=0.1))
    waiting = [caller.begin("key", "1"), caller.begin("key", "2")]
    for found in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(found, RedisTimeout)
    impostor.append(b"$5\r\nkey:3\r\n")
    assert await caller.ask("key", "3") == b"key:3"
    await caller.line.close()


async def test_a_clock_that_runs_for_an_answered_run_breaks_nothing(impostor: list[bytes]) -> None:
    caller = Caller(ScriptLine(ECHO, timeout_seconds=0.2))
    impostor.append(b"$5\r\nkey:1\r\n")
    await caller.ask("key", "1")
    await asyncio.sleep(0.3)
    await caller.ask("key", "1")
    await asyncio.sleep(0.1)
    impostor.clear()
    begun = asyncio.get_running_loop().time()
    with pytest.raises(RedisTimeout):
        await caller.ask("key", "2")
    assert asyncio.get_running_loop().time() - begun >= 0.19  # its own time, not what the first one left
    await caller.line.close()


async def test_words_that_are_no_answer_break_the_connection(impostor: list[bytes]) -> None:
    impostor.append(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    caller = Caller(ScriptLine(ECHO, timeout_seconds=5))
    with pytest.raises(RedisConnectionError, match="Protocol error"):
        await caller.ask("key", "1")
    await caller.line.close()


async def test_what_cannot_be_packed_costs_nobody_else_an_answer(caller: Caller) -> None:
    await caller.ask("key", "1")
    one = caller.begin("key", "2")
    with pytest.raises(TypeError):
        caller.line.run(["key"], [object()], print)
    assert await asyncio.gather(one, caller.begin("key", "3")) == [b"key:2", b"key:3"]


async def test_what_cannot_be_packed_fails_also_before_the_connection_stands(caller: Caller) -> None:
    early = caller.begin("key", "1")
    odd = caller.begin("key", object())
    late = caller.begin("key", "2")
    assert [type(found) for found in await asyncio.gather(early, odd, late, return_exceptions=True)] == [
        bytes, TypeError, bytes,
    ]  # fmt: skip


async def test_an_answer_too_many_ends_the_connection(impostor: list[bytes]) -> None:
    impostor.append(b"$5\r\nkey:1\r\n" * 2)
    caller = Caller(ScriptLine(ECHO, timeout_seconds=5))
    assert await caller.ask("key", "1") == b"key:1"
    await until(lambda: not caller.line._wire.is_open)
    await caller.line.close()


async def test_closing_at_once_fails_what_has_not_been_sent() -> None:
    caller = Caller(ScriptLine(ECHO, timeout_seconds=5))
    early = caller.begin("key", "1")
    await caller.line.close()
    with pytest.raises(RedisConnectionError, match="was closed"):
        await early
    assert await caller.ask("key", "2") == b"key:2"
    await caller.line.close()


async def test_a_demoted_redis_is_dialled_anew(impostor: list[bytes]) -> None:
    impostor.append(b"-READONLY You can't write against a read only replica.\r\n")
    caller = Caller(ScriptLine(ECHO, timeout_seconds=5))
    with pytest.raises(ResponseError, match="READONLY"):
        await caller.ask("key", "1")
    impostor[0] = b"$5\r\nkey:2\r\n"
    before = caller.line._wire
    assert await caller.ask("key", "2") == b"key:2"
    assert caller.line._wire is not before
    await caller.line.close()


async def test_hanging_up_fails_what_is_waited_for(impostor: list[bytes]) -> None:
    caller = Caller(ScriptLine(ECHO, timeout_seconds=5))
    early = caller.begin("key", "1")
    await asyncio.sleep(0)
    await caller.line.close()
    with pytest.raises(RedisConnectionError, match="was closed"):
        await early
    late = caller.begin("key", "2")
    await until(lambda: caller.line._wire is not None)
    await caller.line.close()
    with pytest.raises(RedisConnectionError, match="was closed"):
        await late
