"""Bodies of requests to Django: bounded in bytes and in time, before they reach the disk."""

import asyncio

import orjson
import pytest

from apps.core.web import bodies
from apps.core.web.bodies import BoundedBodies


class Peer:
    """A client that sends parts, and what it was answered; `reached` is what the application read."""

    def __init__(self, *parts: bytes, length: int | None = None) -> None:
        headers = [] if length is None else [(b"content-length", b"%d" % length)]
        self.scope = {"type": "http", "method": "POST", "path": "/login", "headers": headers}
        self.messages = [
            {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)}
            for index, part in enumerate(parts)
        ]
        self.is_stuck = False
        self.reached: list[dict] = []
        self.sent: list[dict] = []

    async def receive(self):
        if self.is_stuck:
            await asyncio.Event().wait()
        return self.messages.pop(0) if self.messages else {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    async def application(self, scope, receive, send):
        """Read all of it, as Django does, and answer unless the client is gone."""
        while True:
            message = await receive()
            self.reached.append(message)
            if message["type"] == "http.disconnect":
                return
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 204, "headers": []})

    async def exchange(self):
        await BoundedBodies(self.application)(self.scope, self.receive, self.send)
        return self.sent[0]["status"]

    @property
    def problem(self):
        return orjson.loads(self.sent[1]["body"])


@pytest.fixture(autouse=True)
def _limit(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10


@pytest.mark.parametrize("parts", [(b"",), (b"0123456789",), (b"01234", b"56789")])
async def test_what_fits_passes(parts):
    peer = Peer(*parts, length=sum(map(len, parts)))
    assert await peer.exchange() == 204
    assert b"".join(message["body"] for message in peer.reached) == b"".join(parts)


async def test_a_body_that_says_it_is_too_large_is_not_read():
    peer = Peer(b"0123456789x", length=11)
    assert await peer.exchange() == 413
    assert peer.reached == []
    assert peer.problem["code"] == "too_large"
    assert peer.problem["detail"] == "The body is larger than 10 bytes, the most that is accepted."
    assert dict(peer.sent[0]["headers"])[b"x-request-id"].decode() == peer.problem["request_id"]


async def test_a_body_of_unknown_length_is_read_no_further_than_the_limit():
    peer = Peer(b"01234", b"56789", b"x", b"never read")
    assert await peer.exchange() == 413
    assert [message.get("body") for message in peer.reached] == [b"01234", b"56789", None]
    assert len(peer.messages) == 1
    assert peer.problem["code"] == "too_large"


async def test_a_body_that_does_not_come_is_408(monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.02)
    peer = Peer(b"01234", b"56789")
    peer.is_stuck = True
    assert await peer.exchange() == 408
    assert peer.problem["code"] == "body_late"


async def test_waiting_for_the_end_of_an_answered_request_has_no_limit(monkeypatch):
    peer = Peer(b"01234")
    messages = []

    async def application(scope, receive, send):
        messages.append(await receive())
        monkeypatch.setattr(bodies, "BODY_SECONDS", 0.0)
        messages.append(await receive())
        await send({"type": "http.response.start", "status": 204, "headers": []})

    await BoundedBodies(application)(peer.scope, peer.receive, peer.send)
    assert [message["type"] for message in messages] == ["http.request", "http.disconnect"]
    assert [message["status"] for message in peer.sent] == [204]
