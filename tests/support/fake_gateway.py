"""A gateway that says what a test tells it to, when the test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest

from apps.conversations.services import answering
from apps.core.ids import encode_id
from apps.gateway.choices import CallStatus
from apps.gateway.providers.base import Chunk, Usage

Step = str | Exception | asyncio.Event
"""A text to stream, an error to raise, or something to wait for."""


class FakeCall:
    """One call: streams its steps, can be cancelled at any of them."""

    def __init__(self, script: Sequence[Step], request_id: UUID) -> None:
        self.request_id = request_id
        self.public_id = encode_id("req", request_id)
        self.model, self.provider, self.created = "fake", "fake", 0
        self.usage: Usage | None = None
        self.cost_micros: int | None = None
        self.is_estimated = False
        self.status: CallStatus | None = None
        self.is_cancelled = False
        self.has_ended = False
        self._script = script
        self._stop = asyncio.Event()
        self._words = 0

    async def batches(self) -> AsyncIterator[list[Chunk]]:
        try:
            for step in self._script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await self._wait(step)
                elif not self._stop.is_set():
                    self._words += 1
                    yield [Chunk(data=b"", text=step)]
                if self._stop.is_set():
                    return
                await asyncio.sleep(0)
        finally:
            self.has_ended = True
            self.status = CallStatus.CANCELLED if self.is_cancelled else CallStatus.OK
            self.usage = Usage(prompt_tokens=7, completion_tokens=self._words)
            self.cost_micros = 123

    async def cancel(self) -> None:
        if not self.has_ended:
            self.is_cancelled = True
            self._stop.set()

    async def _wait(self, event: asyncio.Event) -> None:
        waiting = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._stop.wait())}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()


class FakeGateway:
    """Stands in for `open_chat`; remembers what it was asked."""

    def __init__(self) -> None:
        self.script: Sequence[Step] = ["Hello", ", ", "world", "!"]
        self.refusal: Exception | None = None
        self.requests: list[dict[str, Any]] = []
        self.calls: list[FakeCall] = []

    async def open_chat(
        self, *, actor: Any, request: dict[str, Any], endpoint: str, request_id: UUID | None = None
    ) -> FakeCall:
        self.requests.append({"actor": actor, "endpoint": endpoint, **request})
        if self.refusal is not None:
            raise self.refusal
        assert request_id is not None
        call = FakeCall(self.script, request_id)
        self.calls.append(call)
        return call


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    """Put a fake in the gateway's place."""
    fake = FakeGateway()
    monkeypatch.setattr(answering, "open_chat", fake.open_chat)
    return fake
