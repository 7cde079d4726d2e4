"""Heads of requests: bounded in bytes and in time, before anybody is asked who sends them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvicorn

from apps.core.management.commands.web import build_config
from apps.core.web import heads

Server = Callable[[Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]], Awaitable[None]]


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
async def connect():
    """Return a function that opens connections to a server with our protocol."""
    config = uvicorn.Config(hello, http=heads.BoundedHttpProtocol, log_config=None, lifespan="off")
    config.load()
    state = uvicorn.Server(config).server_state
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: heads.BoundedHttpProtocol(config, state, {}), "127.0.0.1", 0)
    opened = []

    async def open_one():
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        opened.append(writer)
        return reader, writer

    yield open_one
    for writer in opened:
        writer.close()
    server.close()


async def ask(connection, data: bytes) -> bytes:
    reader, writer = connection
    writer.write(data)
    return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)


def test_the_web_process_speaks_it():
    assert build_config().http is heads.BoundedHttpProtocol


async def test_ordinary_requests_pass_one_after_the_other(connect):
    connection = await connect()
    for _ in range(3):
        head = await ask(connection, b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * 8000 + b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await connection[0].readexactly(5) == b"hello"


@pytest.mark.parametrize(
    "endless",
    [b"x: y\r\n" * 60_000, b"x: " + b"y" * 400_000, b"/" + b"y" * 400_000],
    ids=["headers", "value", "path"],
)
async def test_a_head_that_does_not_end_is_431(connect, endless):
    connection = await connect()
    begin = b"GET " if endless.startswith(b"/") else b"GET / HTTP/1.1\r\n"
    assert (await ask(connection, begin + endless)).startswith(b"HTTP/1.1 431 ")


async def test_a_further_head_is_bounded_as_the_first(connect):
    connection = await connect()
    await ask(connection, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await connection[0].readexactly(5)
    head = await ask(connection, b"GET / HTTP/1.1\r\nx: " + b"y" * 400_000)
    assert head.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHos"], ids=["silence", "half a head"])
async def test_who_does_not_finish_a_head_is_closed(connect, monkeypatch, sent):
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.05)
    reader, writer = await connect()
    writer.write(sent)
    assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_half_head_after_an_answer_is_closed_too(connect, monkeypatch):
    connection = await connect()
    await ask(connection, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await connection[0].readexactly(5)
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.05)
    connection[1].write(b"GET / HT")
    assert await asyncio.wait_for(connection[0].read(), 5) == b""
