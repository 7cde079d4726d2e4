"""Clients of the campaign: some stay to the end, some leave in the middle; each notes what it saw."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

MODEL = "gpt-4o-mini"
MAX_TOKENS = 40
MESSAGES = [{"role": "user", "content": "Hello"}]
LEAVING_SHARE = 0.08


@dataclass
class Callers:
    """Keeps a number of calls running until so many have been made, whatever happens to the server."""

    url: str
    key: str
    seed: int
    acknowledged: Counter[str] = field(default_factory=Counter)
    left: set[str] = field(default_factory=set)
    refused: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    made: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self, count: int, *, at_once: int, at_least_until: asyncio.Event) -> None:
        """Make `count` calls, half of them streams, and more until the event has come."""
        numbers = itertools.takewhile(lambda number: number < count or not at_least_until.is_set(), itertools.count())
        chance = random.Random(self.seed)

        async def caller(session: aiohttp.ClientSession) -> None:
            for number in numbers:
                leaves = chance.random() < LEAVING_SHARE
                if not await self._call(
                    session, stream=number % 2 == 0, leaves=leaves, patience=chance.uniform(0, 0.4)
                ):
                    await asyncio.sleep(0.2)
                async with self.changed:
                    self.made += 1
                    self.changed.notify_all()

        timeout = aiohttp.ClientTimeout(total=40)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(caller(session) for _ in range(at_once)))

    async def until(self, count: int) -> None:
        """Return when so many calls have been made."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.made >= count)

    async def _call(self, session: aiohttp.ClientSession, *, stream: bool, leaves: bool, patience: float) -> bool:
        """Make one call; tell whether the server was there at all."""
        body = {"model": MODEL, "messages": MESSAGES, "stream": stream, "max_tokens": MAX_TOKENS}
        name = ""
        try:
            async with session.post(
                f"{self.url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {self.key}"}
            ) as answer:
                name = answer.headers.get("x-portico-request-id", "")
                if answer.status != 200:
                    self.refused[answer.status] += 1
                    await answer.read()
                    return answer.status != 503
                if leaves:
                    await asyncio.sleep(patience)
                    self.left.add(name)
                    answer.close()
                    return True
                content = await answer.read()
        except (TimeoutError, aiohttp.ClientError):
            self.broken += 1
            return False
        if not stream or content.endswith(b"data: [DONE]\n\n"):
            self.acknowledged[name] += 1
        else:
            self.broken += 1
        return True
