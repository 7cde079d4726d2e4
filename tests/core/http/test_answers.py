"""Answers as servers give them: whole, in parts, compressed, cut, late, or not HTTP at all."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from apps.core.http import (
    AnswerBroken,
    AnswerCut,
    ConnectionCut,
    HttpError,
    HttpSession,
    ReadTimedOut,
    response,
)
from apps.core.http import connection as connection_module
from tests.core.http.conftest import PLAIN, ask, read_all, serving
from tests.support.waiting import until

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def sized(body: bytes, *headers: bytes) -> bytes:
    return HEAD + b"".join(header + b"\r\n" for header in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def test_a_request_and_its_answer(session: HttpSession) -> None:
    async with serving(sized(b"hello", b"X-One: 1", b"Content-Type: Text/Plain; charset=utf-8")) as server:
        found = await ask(session, server.url, body=b'{"a":1}')
        assert (found.status, found.headers["x-one"], found.content_type) == (200, "1", "text/plain")
        assert await read_all(found) == b"hello"
        assert await found.read() == b""
    [request] = server.requests
    assert request.startswith(b"POST /v1/x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % server.port)
    assert request.endswith(b'X-Team: blue\r\n\r\n{"a":1}')


async def test_a_large_request_arrives_whole(session: HttpSession) -> None:
    body = b"x" * 5_000_000
    async with serving() as server:
        await read_all(await ask(session, server.url, body=body))
    assert server.requests[0].endswith(body)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (CHUNKED + b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n", b"abc"),
        (HEAD + b"Connection: close\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nold", b"old"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN, b"ok"),
        (sized(gzip.compress(b"squeezed", mtime=0), b"Content-Encoding: gzip"), b"squeezed"),
        (sized(zlib.compress(b"squeezed"), b"Content-Encoding: deflate"), b"squeezed"),
        (sized(b"plain", b"Content-Encoding: identity"), b"plain"),
        (sized(gzip.compress(b"", mtime=0), b"Content-Encoding: gzip"), b""),
        (sized(b"", b"Content-Encoding: gzip"), b""),
        (sized(gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0), b"Content-Encoding: gzip"), b"onetwo"),
        (sized(gzip.compress(b"one", mtime=0) + b"\0" * 9, b"Content-Encoding: gzip"), b"one"),
    ],
)
async def test_forms_of_bodies(session: HttpSession, answer: bytes, body: bytes) -> None:
    async with serving(answer) as server:
        found = await ask(session, server.url)
        assert "link" not in found.headers
        assert await read_all(found) == body


async def test_parts_are_read_as_they_come(session: HttpSession) -> None:
    goes_on = asyncio.Event()

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\none\r\n3\r\ntwo\r\n")
        await goes_on.wait()
        writer.write(b"5\r\nthree\r\n0\r\n\r\n")

    async with serving(speak) as server:
        found = await ask(session, server.url)
        assert await found.read() == b"onetwo"
        goes_on.set()
        assert await read_all(found) == b"three"


async def test_a_reader_that_is_slow_makes_the_server_wait(
    session: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "MAX_HELD_BYTES", 1000)
    body = bytes(range(256)) * 80_000

    async with serving(sized(body)) as server:
        # Silence that the reader asked for is nobody's fault.
        found = await ask(session, server.url, read_seconds=0.05)
        await until(lambda: found.is_paused)
        await asyncio.sleep(0.2)
        assert found._size < 2_000_000
        assert await read_all(found) == body


async def test_what_was_held_for_a_slow_reader_is_given_also_when_the_rest_is_cut(
    session: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "MAX_HELD_BYTES", 1000)
    async with serving(sized(b"x" * 20_000_000)) as server:
        found = await ask(session, server.url)
        await until(lambda: found.is_paused)
        await session.close()
        assert len(await found.read()) > 1000
        with pytest.raises(AnswerCut):
            await found.read()


async def test_what_expands_comes_in_portions(session: HttpSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "MAX_DECODED_BYTES", 1000)
    async with serving(sized(gzip.compress(b"0" * 10_000, mtime=0), b"Content-Encoding: gzip")) as server:
        found = await ask(session, server.url)
        assert len(await found.read()) == 1000
        assert len(await read_all(found)) == 9000


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionCut),
        (b"nonsense\r\n\r\n", AnswerBroken),
        (b"HTTP/1.1 000 X\r\nContent-Length: 2\r\n\r\nok", AnswerBroken),
        (b"HTTP/1.1 110 X\r\nContent-Length: 3\r\n\r\nabc" + PLAIN, AnswerBroken),
        (CHUNKED + b"2\r\nok\r\n0\r\n" + b"X: %s\r\n" % (b"y" * 60_000) * 5 + b"\r\n", AnswerBroken),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n", AnswerBroken),
        (HEAD + b"X-Cut", AnswerCut),
        (HEAD + b"Connection: close\r\nContent-Length: 100\r\n\r\n{}", AnswerCut),
        (CHUNKED + b"zz\r\n{}", AnswerBroken),
        (HEAD + b"X: " + b"y" * 300_000, AnswerBroken),
        (sized(b"?", b"Content-Encoding: br"), AnswerBroken),
        (sized(b"not zipped", b"Content-Encoding: gzip"), AnswerBroken),
        (sized(gzip.compress(b"half" * 1000, mtime=0)[:30], b"Content-Encoding: gzip"), AnswerCut),
    ],
)
async def test_what_is_no_answer(session: HttpSession, answer: bytes, error: type[HttpError]) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with serving(speak) as server:
        with pytest.raises(error):
            await read_all(await ask(session, server.url))


async def test_a_cut_comes_after_what_had_arrived(session: HttpSession) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"3\r\none\r\n")
        writer.close()

    async with serving(speak) as server:
        found = await ask(session, server.url)
        await until(lambda: found._error is not None)
        assert await found.read() == b"one"
        with pytest.raises(AnswerCut):
            await found.read()


@pytest.mark.parametrize("before", [b"", CHUNKED + b"3\r\none\r\n"])
async def test_silence_has_an_end(session: HttpSession, before: bytes) -> None:
    over = asyncio.Event()

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        await over.wait()

    async with serving(speak) as server:
        with pytest.raises(ReadTimedOut, match=r"0\.1 s"):
            await read_all(await ask(session, server.url, read_seconds=0.1))
        over.set()


async def test_each_request_has_its_own_patience(session: HttpSession) -> None:
    over = asyncio.Event()

    async def stay_silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await over.wait()

    async with serving(PLAIN, stay_silent) as server:
        await read_all(await ask(session, server.url, read_seconds=60))
        with pytest.raises(ReadTimedOut):
            await ask(session, server.url, read_seconds=0.1)
        assert server.connections == 1
        over.set()


async def test_a_clock_that_strikes_between_requests_breaks_nothing(session: HttpSession) -> None:
    async with serving() as server:
        await read_all(await ask(session, server.url, read_seconds=0.05))
        await asyncio.sleep(0.15)
        await read_all(await ask(session, server.url, read_seconds=5))
        assert server.connections == 1


async def test_drops_keep_a_slow_answer_alive(session: HttpSession) -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for _ in range(8):
            await asyncio.sleep(0.05)
            writer.write(b"1\r\n.\r\n")
        writer.write(b"0\r\n\r\n")

    async with serving(drip) as server:
        assert await read_all(await ask(session, server.url, read_seconds=0.25)) == b"." * 8


async def test_an_answer_without_a_question_ends_the_connection(session: HttpSession) -> None:
    late = asyncio.Event()

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PLAIN)
        await late.wait()
        writer.write(PLAIN)

    async with serving(speak, PLAIN) as server:
        await read_all(await ask(session, server.url))
        late.set()
        await until(lambda: not session._connections)
        assert await read_all(await ask(session, server.url)) == b"ok"
        assert server.connections == 2


async def test_two_answers_at_once_end_the_connection(session: HttpSession) -> None:
    async with serving(PLAIN + sized(b"smuggled", b"X-A: b")) as server:
        for _ in range(2):
            assert await read_all(await ask(session, server.url)) == b"ok"
        assert server.connections == 2


async def test_trailers_change_no_header(session: HttpSession) -> None:
    async with serving(
        CHUNKED + b"2\r\nok\r\n0\r\nContent-Encoding: gzip\r\nContent-Type: text/html\r\n\r\n"
    ) as server:
        found = await ask(session, server.url)
        assert (await read_all(found), found.headers) == (b"ok", {"transfer-encoding": "chunked"})


async def test_an_end_without_a_close_is_an_end(session: HttpSession) -> None:
    over = asyncio.Event()

    async def end_half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\nuntil the end")
        writer.write_eof()
        await over.wait()

    async with serving(end_half) as server:
        assert await read_all(await ask(session, server.url, read_seconds=60)) == b"until the end"
        over.set()


async def test_an_end_of_our_own_is_none(session: HttpSession) -> None:
    over = asyncio.Event()

    async def go_on(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\nuntil the end")
        await over.wait()

    async with serving(go_on) as server:
        found = await ask(session, server.url)
        assert await found.read() == b"until the end"
        await session.close()
        with pytest.raises(AnswerCut):
            await found.read()
        over.set()


async def test_an_answer_that_is_not_read_to_its_end_holds_up_no_other(
    session: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "MAX_HELD_BYTES", 1000)
    async with serving(sized(b"x" * 5000)) as server:
        left = [await ask(session, server.url) for _ in range(3)]
        assert server.connections == 1
        assert [len(await read_all(found)) for found in left] == [5000] * 3


async def test_a_large_request_that_is_refused_early_leaves_no_connection_behind(session: HttpSession) -> None:
    async def refuse_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await refuse_early(reader, writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        found = await ask(session, url, body=b"x" * 20_000_000)
        assert (found.status, await read_all(found)) == (413, b"no")
        await until(lambda: not session._connections)


async def test_a_pause_of_the_reader_is_not_counted_against_the_server(
    session: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "MAX_HELD_BYTES", 1000)
    goes_on = asyncio.Event()

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"%x\r\n%s\r\n" % (5000, b"x" * 5000))
        await goes_on.wait()
        writer.write(b"2\r\nok\r\n0\r\n\r\n")

    async with serving(speak) as server:
        found = await ask(session, server.url, read_seconds=0.5)
        await until(lambda: found.is_paused)
        await asyncio.sleep(0.4)
        assert len(await found.read()) == 5000
        await asyncio.sleep(0.3)
        goes_on.set()
        assert await found.read() == b"ok"


async def test_limits_of_heads_are_those_of_one_answer(session: HttpSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "MAX_HEAD_BYTES", 100)
    async with serving(sized(b"x" * 500)) as server:
        for _ in range(3):
            assert len(await read_all(await ask(session, server.url))) == 500
