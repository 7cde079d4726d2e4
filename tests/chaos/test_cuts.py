"""Streams cut five hundred times at bytes that a seed decides: resumed, they say the same, from one call each."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from apps.core.embedded.state import choose_port
from tests.chaos.faults import manage
from tests.chaos.test_campaign import choose_seed
from tests.support.running import RunningPortico

KEY = "chaos-key-0123456789-0123456789-0123456789"
MODEL = "sandbox-small"
ANSWERS, AT_ONCE, CUTS = 80, 8, 500
FIRST_BYTES, MEAN_BYTES = 4_000, 1_200
"""The first piece holds the first event, which says what is to be resumed; the others are of any length, around a mean."""
SETTLE_SECONDS = 30
UNNUMBERED = 0
"""What stands for the number of an event that has none: to resume after it is to begin anew."""

pytestmark = pytest.mark.chaos


@dataclass(frozen=True)
class Way:
    """One kind of stream: how it begins, how it goes on after event number n, and how its events are read."""

    name: str
    begin: Callable[[str], tuple[str, dict[str, Any]]]
    resume: Callable[[dict[str, Any], int], str]
    text: Callable[[str, dict[str, Any]], str]
    last: frozenset[str]


CHAT = Way(
    "chat",
    begin=lambda content: ("/api/v3/chat/stream", {"content": content, "model": MODEL}),
    resume=lambda first, after: f"/api/v3/chat/{first['run_id']}/stream?after={after}",
    text=lambda name, data: data["text"] if name == "delta" else "",
    last=frozenset({"run.completed", "run.failed", "run.cancelled"}),
)
RESPONSES = Way(
    "responses",
    begin=lambda content: (
        "/v1/responses",
        {"input": content, "model": MODEL, "stream": True, "background": True},
    ),
    resume=lambda first, after: f"/v1/responses/{first['response']['id']}?stream=true&starting_after={after}",
    text=lambda name, data: data["delta"] if name == "response.output_text.delta" else "",
    last=frozenset({"response.completed", "response.failed", "response.incomplete", "response.cancelled"}),
)


def read_events(raw: bytes) -> list[tuple[int, str, dict[str, Any]]]:
    """Return number, name and data of the whole events of a piece of a stream."""
    found = []
    for block in raw[: raw.rfind(b"\n\n") + 1].decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in fields:
            data = json.loads(fields["data"])
            number = int(fields.get("id", data.get("sequence_number", UNNUMBERED)))
            found.append((number, fields["event"], data))
    return found


def choose_cut(chance: random.Random) -> int:
    """Return after how many bytes the connection breaks: mostly few, now and then enough for the longest event."""
    return 1 + int(chance.expovariate(1 / MEAN_BYTES))


async def read_until_cut(answer: aiohttp.ClientResponse, cut: int) -> bytes:
    """Return so many bytes and break the connection off, or all of a shorter stream."""
    raw = b""
    async for piece in answer.content.iter_any():
        raw += piece
        if len(raw) >= cut:
            answer.close()
            return raw[:cut]
    return raw


async def read_in_pieces(
    session: aiohttp.ClientSession, way: Way, content: str, chance: random.Random
) -> tuple[str, list[int], int]:
    """Return the text of an answer whose stream is cut again and again, its event numbers, and the number of cuts."""
    path, body = way.begin(content)
    async with session.post(path, json=body) as answer:
        assert answer.status == 200, await answer.text()
        events = read_events(await read_until_cut(answer, FIRST_BYTES + choose_cut(chance)))
    first, cuts = events[0][2], 0
    while events[-1][1] not in way.last:
        cuts += 1
        async with session.get(way.resume(first, max(number for number, _, _ in events))) as answer:
            assert answer.status == 200, await answer.text()
            events += read_events(await read_until_cut(answer, choose_cut(chance)))
    numbers = [number for number, _, data in events if number != UNNUMBERED or "sequence_number" in data]
    return "".join(way.text(name, data) for _, name, data in events), numbers, cuts


@pytest.mark.parametrize("way", [CHAT, RESPONSES], ids=lambda way: way.name)
async def test_a_stream_cut_anywhere_says_the_same_from_one_call(tmp_path: Path, way: Way) -> None:
    seed = choose_seed()
    chance = random.Random(seed)
    words = [" ".join(f"w{chance.randrange(10**6)}ü" for _ in range(150)) for _ in range(ANSWERS)]
    read = 0
    with RunningPortico(tmp_path / "data", choose_port(), PORTICO_API_KEY=KEY, PORTICO_CHAT_TITLES="words") as portico:
        await asyncio.to_thread(portico.wait_for_banner)
        session = aiohttp.ClientSession(f"http://127.0.0.1:{portico.port}", headers={"Authorization": f"Bearer {KEY}"})
        cuts, left = 0, list(words)

        async def reader() -> None:
            nonlocal cuts
            while left:
                said = left.pop()
                text, numbers, found = await read_in_pieces(session, way, f"[slow:2][echo:{said}]", chance)
                assert text == said, f"seed {seed}"
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"seed {seed}"
                cuts += found

        async with session:
            await asyncio.gather(*(reader() for _ in range(AT_ONCE)))
        for _ in range(SETTLE_SECONDS):
            read = len((await asyncio.to_thread(manage, portico, "usage_export", "--format", "ndjson")).splitlines())
            if read >= ANSWERS:
                break
            await asyncio.sleep(1)
    assert (read, cuts >= CUTS) == (ANSWERS, True), f"seed {seed}, {cuts} cuts"
