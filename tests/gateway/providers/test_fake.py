"""The fake does what it is told, within the port's promises."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from apps.core.http import HttpSession
from apps.gateway.providers.base import Chunk, Target, UpstreamBroken, UpstreamRateLimited, Usage
from apps.gateway.providers.fake import FakeProvider, Script
from tests.gateway.providers.reading import deltas, forwarded, joined_calls, payload_of

TARGET = Target("acme", "fake", "", "", "fake-model")
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def arguments(session: HttpSession) -> dict[str, Any]:
    return {"session": session, "target": TARGET, "request": {"messages": []}, "request_id": "r1"}


async def read(fake: FakeProvider, session: HttpSession, into: list[Chunk]) -> list[Chunk]:
    stream = fake.stream(**arguments(session))
    async with aclosing(stream):
        async for batch in stream:
            into.extend(batch)
    return into


async def test_answers_in_order_then_the_default(session: HttpSession) -> None:
    fake = FakeProvider(Script(pieces=["One"]), Script(tool_calls=[CALL], finish_reason="tool_calls", usage=None))

    answers = [await fake.complete(**arguments(session)) for _ in range(3)]

    messages = [payload_of(answer)["choices"][0]["message"] for answer in answers]
    assert [message["content"] for message in messages] == ["One", None, "Hello there"]
    assert messages[1]["tool_calls"] == [CALL]
    assert [answer.usage for answer in answers] == [Usage(7, 2), None, Usage(7, 2)]


async def test_streams_keep_the_promises(session: HttpSession) -> None:
    chunks = await read(FakeProvider(), session, [])

    assert "".join(chunk.text for chunk in chunks) == "Hello there"
    assert [delta.get("role") for delta in deltas(chunks)] == ["assistant", None, None, None]
    assert len({chunk["id"] for chunk in forwarded(chunks)}) == 1
    assert chunks[-1].is_usage_chunk
    assert chunks[-2].finish_reason == "stop"


async def test_tool_calls_are_streamed(session: HttpSession) -> None:
    fake = FakeProvider(Script(tool_calls=[CALL], finish_reason="tool_calls", usage=None))

    chunks = await read(fake, session, [])

    assert joined_calls(chunks) == [("call_1", "f", {})]
    assert chunks[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize(("pieces", "text"), [([], ""), (["Hel"], "Hel")])
async def test_errors_come_after_the_pieces(session: HttpSession, pieces: list[str], text: str) -> None:
    fake = FakeProvider(Script(pieces=pieces, error=UpstreamBroken("Cut.")))
    chunks: list[Chunk] = []

    with pytest.raises(UpstreamBroken):
        await read(fake, session, chunks)

    assert "".join(chunk.text for chunk in chunks) == text
    assert bool(chunks) is bool(pieces)


@pytest.mark.parametrize("method", ["complete", "embed"])
async def test_errors_of_the_other_methods(session: HttpSession, method: str) -> None:
    fake = FakeProvider(Script(error=UpstreamRateLimited("Slow down.")))

    with pytest.raises(UpstreamRateLimited):
        await getattr(fake, method)(**arguments(session))


async def test_models_and_their_failure(session: HttpSession) -> None:
    fake = FakeProvider(Script(), Script(error=UpstreamBroken("Down.")), models=("a", "b"))

    assert await fake.list_models(session=session, target=TARGET) == ["a", "b"]
    with pytest.raises(UpstreamBroken):
        await fake.list_models(session=session, target=TARGET)


async def test_embeddings(session: HttpSession) -> None:
    fake = FakeProvider(Script(), Script(usage=None))
    asked = {**arguments(session), "request": {"input": ["a", "b"]}}

    one, two = await fake.embed(**asked), await fake.embed(**{**asked, "request": {"input": "a"}})

    assert one.payload is not None
    assert two.payload is not None
    assert [len(answer["data"]) for answer in (one.payload, two.payload)] == [2, 1]
    assert one.payload["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert "usage" not in two.payload


async def test_calls_are_remembered_and_can_be_held_open(session: HttpSession) -> None:
    gate = asyncio.Event()
    fake = FakeProvider(Script(gate=gate))
    task = asyncio.create_task(read(fake, session, []))
    await asyncio.sleep(0)

    assert [(call.operation, call.request_id, call.is_closed) for call in fake.calls] == [("stream", "r1", False)]

    gate.set()
    await task
    assert fake.calls[0].is_closed


async def test_a_closed_stream_is_known(session: HttpSession) -> None:
    fake = FakeProvider()
    stream = fake.stream(**arguments(session))

    await anext(stream)
    assert not fake.calls[0].is_closed
    await stream.aclose()

    assert fake.calls[0].is_closed
