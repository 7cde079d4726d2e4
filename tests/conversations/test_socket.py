"""Chat over one WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from pytest_django import Settings

from apps.conversations.consumers import MAX_STREAMS
from apps.conversations.models import Message, Run
from apps.conversations.runtime.database import in_database
from apps.conversations.runtime.desk import current_desk
from apps.conversations.services import titling
from apps.conversations.urls import websocket_urlpatterns
from apps.core.actor import ANONYMOUS
from apps.core.ids import uuid7
from apps.gateway.choices import AnalysisMethod
from apps.gateway.services.analysis import Title
from apps.users.choices import Role
from apps.users.sockets import SocketActorMiddleware
from tests.conversations.conftest import Chatter, settle
from tests.factories.users import MembershipFactory
from tests.support.fake_gateway import FakeGateway

PATH = "/api/v3/chat/ws"
application = SocketActorMiddleware(URLRouter(websocket_urlpatterns))


class Socket:
    """One open socket of a member's key."""

    def __init__(self, chatter: Chatter) -> None:
        headers = [(b"authorization", chatter.headers["Authorization"].encode())]
        self.wire = WebsocketCommunicator(application, PATH, headers=headers)

    async def send(self, **frame: Any) -> None:
        await self.wire.send_json_to(frame)

    async def receive(self) -> dict[str, Any]:
        return await self.wire.receive_json_from(timeout=5)

    async def receive_until(self, kind: str) -> list[dict[str, Any]]:
        """Return the frames up to and with the first of a type."""
        found = [await self.receive()]
        while found[-1]["type"] != kind:
            found.append(await self.receive())
        return found


@pytest.fixture
async def socket(chatter: Chatter) -> AsyncIterator[Socket]:
    socket = Socket(chatter)
    assert (await socket.wire.connect())[0]
    yield socket
    await socket.wire.disconnect()
    await settle()


def text_of(frames: list[dict[str, Any]]) -> str:
    return "".join(frame["data"]["text"] for frame in frames if frame["type"] == "delta")


async def test_send_and_stream(socket: Socket, gateway: FakeGateway) -> None:
    await socket.send(type="chat.send", ref="r1", content="Hi", model="fake")
    frames = await socket.receive_until("run.completed")
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert {frame["ref"] for frame in frames} == {"r1"}
    assert {frame["run_id"] for frame in frames} == {frames[0]["data"]["run_id"]}
    assert text_of(frames) == frames[-1]["data"]["answer"]["content"] == "Hello, world!"
    await socket.send(type="ping", ref="p")
    assert await socket.receive() == {"type": "pong", "ref": "p"}


async def test_resume_goes_on_from_the_last_number(socket: Socket, gateway: FakeGateway, chatter: Chatter) -> None:
    whole = await chatter.stream()
    run_id = whole[0].data["run_id"]
    await socket.send(type="chat.resume", run_id=run_id, after=1)
    frames = await socket.receive_until("run.completed")
    assert (frames[0]["type"], frames[0]["seq"], text_of(frames)) == ("delta", 2, "Hello, world!")
    assert len(gateway.calls) == 1


async def test_a_lost_socket_stops_nothing_and_another_resumes(
    chatter: Chatter, socket: Socket, gateway: FakeGateway
) -> None:
    gate = asyncio.Event()
    gateway.script = ["Before", gate, " and after"]
    first = Socket(chatter)
    await first.wire.connect()
    await first.send(type="chat.send", content="Hi", model="fake")
    seen = await first.receive_until("delta")
    await first.wire.disconnect()
    gate.set()
    await socket.send(type="chat.resume", run_id=seen[0]["run_id"], after=seen[-1]["seq"])
    assert text_of(seen + await socket.receive_until("run.completed")) == "Before and after"


async def test_resuming_twice_over_one_socket_streams_once(
    chatter: Chatter, socket: Socket, gateway: FakeGateway
) -> None:
    gate = asyncio.Event()
    gateway.script = ["Before", gate, " and after"]
    await socket.send(type="chat.send", content="Hi", model="fake", ref="old")
    run_id = (await socket.receive_until("delta"))[0]["run_id"]
    await socket.send(type="chat.resume", run_id=run_id, after=0, ref="new")
    await socket.receive_until("delta")
    gate.set()
    frames = await socket.receive_until("run.completed")
    assert {frame["ref"] for frame in frames} == {"new"}


async def test_cancel(socket: Socket, gateway: FakeGateway) -> None:
    gateway.script = ["So far", asyncio.Event()]
    await socket.send(type="chat.send", content="Hi", model="fake")
    run_id = (await socket.receive_until("delta"))[0]["run_id"]
    await socket.send(type="chat.cancel", run_id=run_id)
    end = (await socket.receive_until("run.cancelled"))[-1]["data"]["answer"]
    assert (end["status"], end["content"]) == ("cancelled", "So far")


async def test_one_key_one_run(socket: Socket, gateway: FakeGateway) -> None:
    for _ in range(2):
        await socket.send(type="chat.send", content="Hi", model="fake", idempotency_key="k")
        await socket.receive_until("run.completed")
    assert len(gateway.calls) == 1


REFUSED = [
    ("no json", "invalid_input"),
    ("[]", "invalid_input"),
    ('{"type": "chat.fly", "ref": "r"}', "invalid_input"),
    ('{"type": ["chat.send"]}', "invalid_input"),
    ('{"type": "ping", "ref": 7}', "invalid_input"),
    ('{"type": "chat.send", "model": "fake"}', "conversations.text_invalid"),
    ('{"type": "chat.send", "content": "a\\u0000", "model": "fake"}', "conversations.text_invalid"),
    ('{"type": "chat.send", "content": ["x"], "model": "fake"}', "invalid_input"),
    ('{"type": "chat.send", "content": "x", "model": "a\\u0000"}', "invalid_input"),
    ('{"type": "chat.send", "content": "x", "model": "fake", "conversation_id": "x"}', "invalid_input"),
    ('{"type": "chat.resume"}', "not_found"),
    ('{"type": "chat.resume", "run_id": "RUN", "after": 0}', "not_found"),
    ('{"type": "chat.resume", "run_id": "RUN", "after": -1}', "invalid_input"),
    ('{"type": "chat.cancel", "run_id": "RUN"}', "not_found"),
]


async def test_what_is_refused_is_said_and_the_socket_stays(socket: Socket, gateway: FakeGateway) -> None:
    for frame, code in REFUSED:
        await socket.wire.send_to(text_data=frame.replace("RUN", Run(id=uuid7()).public_id))
        answer = await socket.receive()
        assert (frame, answer["type"], answer["error"]["code"]) == (frame, "error", code)
    await socket.send(type="ping")
    assert (await socket.receive())["type"] == "pong"
    assert not await in_database(Message.objects.exists)


async def test_binary_and_huge_frames_are_refused(socket: Socket) -> None:
    await socket.wire.send_to(bytes_data=b"\x00")
    assert (await socket.receive())["error"]["status"] == 400
    await socket.wire.send_to(text_data="x" * 2_000_001)
    assert (await socket.receive())["error"]["status"] == 400


async def test_too_many_streams_are_refused(socket: Socket, gateway: FakeGateway) -> None:
    gate = asyncio.Event()
    gateway.script = [gate]
    for _ in range(MAX_STREAMS):
        await socket.send(type="chat.send", content="Hi", model="fake")
        await socket.receive_until("run.started")
    await socket.send(type="chat.send", content="Hi", model="fake", ref="last")
    refused = await socket.receive()
    assert (refused["ref"], refused["error"]["code"]) == ("last", "conversations.socket_busy")
    gate.set()
    await settle()


async def test_anothers_run_is_not_there(chatter: Chatter, gateway: FakeGateway) -> None:
    run_id = (await chatter.stream())[0].data["run_id"]
    other = Socket(await in_database(lambda: Chatter(MembershipFactory())))
    await other.wire.connect()
    await other.send(type="chat.resume", run_id=run_id)
    assert (await other.receive())["error"]["code"] == "not_found"
    await other.wire.disconnect()


@pytest.mark.parametrize(
    ("role", "scopes", "code"),
    [(Role.VIEWER, [], "users.role_too_low"), (Role.MEMBER, ["conversations:read"], "users.scope_missing")],
)
async def test_who_may_only_read_sends_nothing(
    chatter: Chatter, gateway: FakeGateway, role: Role, scopes: list[str], code: str
) -> None:
    reader = await in_database(lambda: Chatter(MembershipFactory(role=role)))
    reader.key.scopes = scopes
    await in_database(reader.key.save)
    socket = Socket(reader)
    await socket.wire.connect()
    await socket.send(type="chat.send", content="Hi", model="fake")
    assert (await socket.receive())["error"]["code"] == code
    await socket.wire.disconnect()
    assert gateway.requests == []


async def test_nobody_is_closed_out(transactional_db: None) -> None:
    wire = WebsocketCommunicator(application, PATH)
    assert await wire.connect() == (False, 4401)
    bare = WebsocketCommunicator(URLRouter(websocket_urlpatterns), PATH)
    bare.scope["actor"] = ANONYMOUS
    assert await bare.connect() == (False, 4401)


async def test_a_revoked_key_closes_its_idle_socket_within_two_seconds(chatter: Chatter, socket: Socket) -> None:
    chatter.key.revoked_at = "2026-01-01T00:00:00Z"
    await in_database(chatter.key.save)
    async with asyncio.timeout(2.5):
        assert (await socket.receive())["error"]["code"] == "conversations.access_withdrawn"
        assert (await socket.wire.receive_output(timeout=1))["code"] == 4401


async def test_a_closed_socket_leaves_nothing_at_the_desk(chatter: Chatter, gateway: FakeGateway) -> None:
    socket = Socket(chatter)
    await socket.wire.connect()
    await socket.send(type="chat.send", content="Hi", model="fake")
    await socket.receive_until("run.completed")
    await socket.wire.disconnect()
    await settle()
    assert not current_desk().is_busy


async def test_the_title_that_an_answer_leads_to_follows_it(
    socket: Socket, gateway: FakeGateway, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_TITLES = "model"

    async def make_title(**_: Any) -> Title:
        return Title(text="Better", method=AnalysisMethod.MODEL)

    monkeypatch.setattr(titling, "make_title", make_title)
    await socket.send(type="chat.send", ref="1", content="Hi", model="fake")
    frames = await socket.receive_until("conversation.updated")
    assert [frame["type"] for frame in frames[-2:]] == ["run.completed", "conversation.updated"]
    assert (frames[-1]["seq"], frames[-1]["ref"], frames[-1]["data"]["conversation"]["title"]) == (None, "1", "Better")
