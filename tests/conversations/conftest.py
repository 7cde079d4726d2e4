"""What tests of conversations share: a browserless chat client, and streams read as events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient

from apps.conversations.runtime.desk import current_desk
from apps.users.models import Membership
from tests.factories.users import ApiKeyFactory
from tests.support.fake_gateway import gateway
from tests.support.waiting import until

__all__ = ["gateway"]


@dataclass(frozen=True)
class Sent:
    """One server-sent event as a client reads it."""

    seq: int | None
    name: str
    data: dict[str, Any]


def parse_events(raw: bytes) -> list[Sent]:
    """Return the complete events of a piece of a stream; comments and a torn last event are passed over."""
    found = []
    whole, _, _ = raw.rpartition(b"\n\n")
    for block in whole.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if fields:
            seq = int(fields["id"]) if "id" in fields else None
            found.append(Sent(seq, fields["event"], orjson.loads(fields["data"])))
    return found


async def read_all(response: Any) -> list[Sent]:
    """Return all events of a stream to its end."""
    return parse_events(b"".join([chunk async for chunk in response.streaming_content]))


def text_of(events: list[Sent]) -> str:
    """Return the text that the deltas make."""
    return "".join(event.data["text"] for event in events if event.name == "delta")


async def settle() -> None:
    """Wait until the desk has nothing left to do."""
    desk = current_desk()
    await until(lambda: not (desk.runs or desk.unwritten or desk.titles or desk.summaries))


class Chatter:
    """A person's program that chats over HTTP."""

    def __init__(self, membership: Membership) -> None:
        self.membership = membership
        self.key, secret = ApiKeyFactory.with_secret(membership=membership)
        self.headers = {"Authorization": f"Bearer {secret}"}

    async def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return await AsyncClient().post(
            f"/api/v3{path}",
            json.dumps({} if body is None else body),
            content_type="application/json",
            headers={**self.headers, **headers},
        )

    async def get(self, path: str, **headers: str) -> Any:
        return await AsyncClient().get(f"/api/v3{path}", headers={**self.headers, **headers})

    async def stream(self, content: str = "Hi", **body: Any) -> list[Sent]:
        """Send, and return all events of the answer."""
        return await read_all(await self.post("/chat/stream", {"content": content, "model": "fake", **body}))


@pytest.fixture
def chatter(transactional_db: None, member: Membership) -> Chatter:
    return Chatter(member)


@pytest.fixture
def chatter_of(transactional_db: None) -> Callable[[Membership], Chatter]:
    return Chatter


@pytest.fixture(autouse=True)
async def _close_connections() -> AsyncIterator[None]:
    """Leave no connection of another thread behind."""
    yield
    await sync_to_async(connections.close_all)()
