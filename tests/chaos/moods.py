"""How the chaos upstream treats a call: well most of the time, and in every bad way that providers have."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from aiohttp import web

PIECES = 20
PROMPT_TOKENS, COMPLETION_TOKENS = 12, 20


class Mood(StrEnum):
    """What one attempt meets."""

    WELL = "well"
    SLOW = "slow"
    LIMITED = "limited"
    FAILING = "failing"
    CUT = "cut"
    MALFORMED = "malformed"
    USAGE_TWICE = "usage twice"
    USAGE_ZERO = "usage zero"
    USAGE_MISSING = "usage missing"
    SILENT = "silent"


WEIGHTS = {
    Mood.WELL: 60,
    Mood.SLOW: 8,
    Mood.LIMITED: 4,
    Mood.FAILING: 4,
    Mood.CUT: 8,
    Mood.MALFORMED: 4,
    Mood.USAGE_TWICE: 4,
    Mood.USAGE_ZERO: 3,
    Mood.USAGE_MISSING: 4,
    Mood.SILENT: 1,
}
FINE = {Mood.WELL, Mood.SLOW, Mood.SILENT, Mood.USAGE_TWICE, Mood.USAGE_ZERO, Mood.USAGE_MISSING}
"""After these the client may have a complete answer."""


@dataclass
class Attempt:
    """One request that reached the upstream, and how many pieces of an answer were written to it."""

    mood: Mood
    is_stream: bool
    pieces: int = 0
    is_complete: bool = False

    @property
    def told(self) -> tuple[int, int] | None:
        """Return prompt and completion tokens as the upstream told them in a complete answer."""
        if not self.is_complete or self.mood is Mood.USAGE_MISSING:
            return None
        return (PROMPT_TOKENS, COMPLETION_TOKENS) if self.mood is not Mood.USAGE_ZERO else (0, 0)


@dataclass
class MoodyUpstream:
    """An OpenAI-compatible server that keeps a journal by the request id that the gateway sent."""

    seed: int
    url: str = ""
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def arrived(self) -> Counter[str]:
        """Return how often each call arrived."""
        return Counter({name: len(found) for name, found in self.attempts.items()})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except ConnectionResetError:  # the gateway left, or was killed
            return web.Response()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        mood = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        attempt = Attempt(mood, bool(body.get("stream")))
        self.attempts.setdefault(request.headers["X-Request-Id"], []).append(attempt)
        if mood is Mood.LIMITED:
            return web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "1"})
        if mood is Mood.FAILING:
            return web.json_response({"error": {"message": "oops"}}, status=500)
        if mood is Mood.SILENT:
            await asyncio.sleep(3)
        pause = 0.05 if mood is Mood.SLOW else 0.01
        if attempt.is_stream:
            return await self._stream(request, body["model"], attempt, pause)
        await asyncio.sleep(self._random.uniform(0, pause * PIECES))
        if mood is Mood.CUT:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if mood is Mood.MALFORMED:
            return web.Response(body=b'{"choices": [', content_type="application/json")
        attempt.pieces, attempt.is_complete = PIECES, True
        choice = {"index": 0, "message": {"role": "assistant", "content": "x " * PIECES}, "finish_reason": "stop"}
        whole = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
        }
        return web.json_response(whole if attempt.told is None else {**whole, "usage": describe_usage(*attempt.told)})

    async def _stream(self, request: web.Request, model: str, attempt: Attempt, pause: float) -> web.StreamResponse:
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        cut_after = self._random.randrange(PIECES) if attempt.mood in {Mood.CUT, Mood.MALFORMED} else PIECES
        for number in range(PIECES):
            if number == cut_after and attempt.mood is Mood.MALFORMED:
                await response.write(b"data: {half a chu\n\n")
                return response
            if number == cut_after:
                assert request.transport is not None
                request.transport.abort()
                return response
            delta = {"content": "x "} | ({"role": "assistant"} if number == 0 else {})
            attempt.pieces += 1
            await _send(response, {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            await asyncio.sleep(self._random.uniform(0, 2 * pause))
        await _send(response, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        attempt.is_complete = True
        for _ in range({Mood.USAGE_MISSING: 0, Mood.USAGE_TWICE: 2}.get(attempt.mood, 1)):
            assert attempt.told is not None
            await _send(response, {**head, "choices": [], "usage": describe_usage(*attempt.told)})
        await response.write(b"data: [DONE]\n\n")
        return response


def describe_usage(prompt: int, completion: int) -> dict[str, int]:
    """Return OpenAI's usage object."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def _send(response: web.StreamResponse, chunk: dict[str, object]) -> None:
    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


@asynccontextmanager
async def running_moody(seed: int) -> AsyncIterator[MoodyUpstream]:
    """Run the upstream on a free port of the loopback."""
    upstream = MoodyUpstream(seed)
    application = web.Application()
    application.router.add_post("/v1/chat/completions", upstream.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield upstream
    finally:
        await runner.cleanup()
