"""What networks do, and what is made of it."""

from __future__ import annotations

import asyncio

import pytest

from apps.gateway.providers import transport
from apps.gateway.providers.base import UpstreamBroken, UpstreamUnavailable
from tests.gateway.providers.conftest import Bench, make_target
from tests.support.upstreams import Scenario


@pytest.mark.parametrize("address", ["ftp://example.com", "http://", "nonsense", "http://127.0.0.1:99999/v1"])
async def test_an_address_that_cannot_be_used(openai: Bench, address: str) -> None:
    openai.target = make_target("openai", "", base_url=address)

    with pytest.raises(UpstreamUnavailable) as caught:
        await openai.complete()

    assert not caught.value.is_retryable


async def test_an_answer_too_large_is_broken(openai: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1_000)
    openai.upstream.play(Scenario(pieces=("x" * 2_000,)))

    with pytest.raises(UpstreamBroken, match="more than 1000 bytes"):
        await openai.complete()


async def test_a_connection_that_is_closed_without_an_answer(openai: Bench) -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        openai.target = make_target("openai", f"http://127.0.0.1:{port}")

        with pytest.raises(UpstreamUnavailable) as caught:
            await openai.complete()

    assert (caught.value.status, caught.value.is_retryable) == (502, True)


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    ],
)
@pytest.mark.parametrize("method", ["complete", "stream"])
async def test_broken_http(openai: Bench, answer: bytes, method: str) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        openai.target = make_target("openai", f"http://127.0.0.1:{port}")

        with pytest.raises(UpstreamBroken):
            await getattr(openai, method)()


async def test_an_error_body_that_is_cut_does_not_hide_the_status(openai: Bench) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        openai.target = make_target("openai", f"http://127.0.0.1:{port}")

        with pytest.raises(UpstreamUnavailable) as caught:
            await openai.complete()

    assert caught.value.upstream_status == 500


async def test_an_end_that_never_comes_is_not_waited_for(openai: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "DRAIN_SECONDS", 0.05)
    frames = openai.upstream.dialect.frames(Scenario())
    openai.upstream.play(Scenario(frames=(*frames, b": more"), frames_before_hang=len(frames)))

    chunks = await openai.stream()

    assert chunks[-1].is_usage_chunk
    assert not openai.upstream.left.is_set()
    await asyncio.wait_for(openai.upstream.left.wait(), 5)
