"""An upstream and a client that keep journals of their own, and the comparison with the product's books.

They share no code with the product: the books are read through `manage.py usage_export` and `manage.py ledger_check`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

PIECES = 20
PROMPT_TOKENS, COMPLETION_TOKENS = 12, 20


@dataclass
class UpstreamJournal:
    """Which calls arrived, by the request id that the gateway sent."""

    arrived: Counter[str] = field(default_factory=Counter)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.arrived[request.headers["X-Request-Id"]] += 1
        body = await request.json()
        usage = {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": COMPLETION_TOKENS,
            "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
        }
        head = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
        if not body.get("stream"):
            await asyncio.sleep(random.uniform(0, 0.3))
            choice = {"index": 0, "message": {"role": "assistant", "content": "x " * PIECES}, "finish_reason": "stop"}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(PIECES):
            delta = {"content": "x "} | ({"role": "assistant"} if number == 0 else {})
            await self._send(response, {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            await asyncio.sleep(random.uniform(0, 0.03))
        await self._send(response, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        await self._send(response, {**head, "choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _send(self, response: web.StreamResponse, chunk: dict) -> None:
        await response.write(b"data: " + json.dumps({"object": "chat.completion.chunk", **chunk}).encode() + b"\n\n")


@asynccontextmanager
async def running_upstream() -> AsyncIterator[UpstreamJournal]:
    """Run the upstream on a free port of the loopback."""
    journal = UpstreamJournal()
    application = web.Application()
    application.router.add_post("/v1/chat/completions", journal.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    journal.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield journal
    finally:
        await runner.cleanup()


@dataclass
class ClientJournal:
    """Which calls were acknowledged: their last byte has arrived."""

    url: str
    key: str
    acknowledged: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def call(self, session: aiohttp.ClientSession, *, stream: bool) -> None:
        """Make one call; note how it ended."""
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
        try:
            async with session.post(
                f"{self.url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {self.key}"}
            ) as answer:
                content = await answer.read()
        except (TimeoutError, aiohttp.ClientError):
            self.broken += 1
            return
        if answer.status != 200:
            self.refused[answer.status] += 1
        elif not stream or content.endswith(b"data: [DONE]\n\n"):
            async with self.changed:
                self.acknowledged[answer.headers["x-portico-request-id"]] += 1
                self.changed.notify_all()
        else:
            self.broken += 1

    async def until(self, count: int) -> None:
        """Return when so many calls were acknowledged."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.acknowledged) >= count)

    async def keep_calling(self, count: int, *, at_once: int) -> None:
        """Make calls, half of them streams, with so many running at any time; go on while the server is away."""
        left = iter(range(count))

        async def caller(session: aiohttp.ClientSession) -> None:
            for number in left:
                broken = self.broken
                await self.call(session, stream=number % 2 == 0)
                if self.broken > broken:
                    await asyncio.sleep(0.1)

        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(caller(session) for _ in range(at_once)))


@dataclass(frozen=True)
class Verdict:
    """Acknowledged calls against usage records: as sets they must be equal but for calls whose end nobody saw."""

    lost: list[str]
    doubled: list[str]
    invented: list[str]

    def __str__(self) -> str:
        return f"lost {len(self.lost)} doubled {len(self.doubled)} invented {len(self.invented)}"


def compare(records: list[dict], client: ClientJournal, upstream: UpstreamJournal) -> Verdict:
    """Hold the exported usage records against both journals.

    Lost: acknowledged without a record, or arrived upstream without one. Doubled: two records of one call. Invented: a
    record of a success that the upstream never saw (an interrupted call may have died on its way there), or an
    acknowledged call that is not recorded with its exact usage.
    """
    counted = Counter(record["request_id"] for record in records)
    succeeded = {record["request_id"] for record in records if record["status"] == "ok"}
    by_id = {record["request_id"]: record for record in records}
    wrong = [
        name
        for name in client.acknowledged
        if (record := by_id.get(name))
        and (record["status"], record["estimated"], record["prompt_tokens"], record["completion_tokens"])
        != ("ok", False, PROMPT_TOKENS, COMPLETION_TOKENS)
    ]
    return Verdict(
        lost=sorted((set(client.acknowledged) | set(upstream.arrived)) - set(counted)),
        doubled=sorted(name for name, times in counted.items() if times > 1),
        invented=sorted(succeeded - set(upstream.arrived)) + wrong,
    )
