"""`WS /api/v3/chat/ws`: send, resume and cancel over one socket.

Frames are JSON objects. The client's: `chat.send`, `chat.resume`, `chat.cancel`, `ping`. Ours: the events of a run's
stream as `{"type", "run_id", "seq", "data"}`, `pong`, and `{"type": "error", "ref", "error"}` for what was refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
import structlog
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from apps.conversations.errors import AccessWithdrawn, SocketBusy
from apps.conversations.forms import chat_in_body, id_in_body, text_in_body
from apps.conversations.models import Run
from apps.conversations.runtime.database import UNREACHABLE, in_database
from apps.conversations.runtime.desk import current_desk
from apps.conversations.selectors.runs import find_run
from apps.conversations.services.answering import begin_answer, cancel_answer
from apps.conversations.services.following import COMPLETED, RunEvent, RunFollower
from apps.conversations.services.keeping import ensure_kept
from apps.conversations.services.runs import repeat_of
from apps.core.actor import Actor, ActorKind
from apps.core.api.problems import describe
from apps.core.errors import AppError, DependencyDown, InvalidInput, NotFound
from apps.users.choices import RANK, Role
from apps.users.errors import RoleTooLow, ScopeMissing
from apps.users.selectors.credentials import Credential

logger = structlog.get_logger(__name__)

CLOSE_NOT_AUTHENTICATED = 4401
READ_SECONDS = 30.0
MAX_STREAMS = 16
MAX_FRAME = 2_000_000
READ, WRITE = ("conversations:read", Role.VIEWER), ("conversations:write", Role.MEMBER)
NEEDS = {"chat.send": WRITE, "chat.cancel": WRITE, "chat.resume": READ}


class ChatConsumer(AsyncJsonWebsocketConsumer):
    """One person's socket. Its streams are tasks; each pulls its run and waits while the client is slow."""

    # No channel layer: runs announce themselves over our own wire, and a layer would end the socket when Redis goes away.
    channel_layer_alias = "none"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.streams: dict[UUID, asyncio.Task[None]] = {}
        self.credential: Credential | None = None

    async def connect(self) -> None:
        """Accept whoever the entrance knows; 4401 for anybody else."""
        actor: Actor | None = self.scope.get("actor")
        if actor is None or actor.kind == ActorKind.ANONYMOUS:
            await self.close(CLOSE_NOT_AUTHENTICATED)
            return
        self.actor = actor
        self.credential = self.scope["credential"]
        current_desk().watch(self.credential, self._withdraw)
        await self.accept()
        try:
            await ensure_kept(current_desk())
        except UNREACHABLE:
            logger.warning("socket_without_keeper")  # the next frame tries again

    async def disconnect(self, code: int) -> None:
        """End the streams; the answers themselves go on."""
        for task in self.streams.values():
            task.cancel()
        if self.credential is not None:
            current_desk().unwatch(self.credential, self._withdraw)

    def _withdraw(self) -> None:
        current_desk().spawn(self._close_withdrawn())

    async def _close_withdrawn(self) -> None:
        await self._refuse(None, AccessWithdrawn("Log in again or use another key."))
        await self.close(CLOSE_NOT_AUTHENTICATED)

    @classmethod
    async def encode_json(cls, content: Any) -> str:
        """Return JSON, times in UTC with Z."""
        return orjson.dumps(content, option=orjson.OPT_UTC_Z).decode()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Act on one frame; whatever is refused is answered with its `ref`."""
        ref: str | None = None
        try:
            frame = _read_frame(text_data)
            ref = text_in_body(frame, "ref")
            await self._act(frame, ref)
        except AppError as error:
            await self._refuse(ref, error)
        except UNREACHABLE:
            await self._refuse(ref, DependencyDown("The database does not answer; try again shortly."))

    async def _act(self, frame: Mapping[str, Any], ref: str | None) -> None:
        kind = frame.get("type")
        if kind == "ping":
            await self.send_json({"type": "pong", "ref": ref})
            return
        if not isinstance(kind, str) or kind not in NEEDS:
            raise InvalidInput(f"type: one of {', '.join([*NEEDS, 'ping'])}.", errors={"type": ["Unknown."]})
        self._authorise(*NEEDS[kind])
        await ensure_kept(current_desk())
        if kind == "chat.cancel":
            await cancel_answer(actor=self.actor, run_id=_run_id(frame))
        elif kind == "chat.resume":
            after = _number(frame, "after")
            run = await in_database(find_run, actor=self.actor, run_id=_run_id(frame))
            self._stream(run, ref, after=after)
        else:
            self._make_room()
            asked = chat_in_body(frame)
            repeat = repeat_of(text_in_body(frame, "idempotency_key") or "", asked)
            self._stream(await begin_answer(actor=self.actor, asked=asked, repeat=repeat), ref, after=0)

    def _authorise(self, scope: str, role: Role) -> None:
        if not self.actor.has_scope(scope):
            raise ScopeMissing(f"This needs the scope {scope}.")
        if not self.actor.role or RANK[Role(self.actor.role)] < RANK[role]:
            raise RoleTooLow(f"This needs the role {role} in the organization; yours is {self.actor.role or 'none'}.")

    def _make_room(self) -> None:
        if len(self.streams) >= MAX_STREAMS:
            raise SocketBusy(f"At most {MAX_STREAMS} answers stream over one socket.", retry_after_seconds=1)

    def _stream(self, run: Run, ref: str | None, *, after: int) -> None:
        """Send a run's events; a second request for the same run takes the place of the first."""
        if (earlier := self.streams.pop(run.id, None)) is not None:
            earlier.cancel()
        self._make_room()
        task = self.streams[run.id] = asyncio.create_task(self._send_run(run, ref, after))
        task.add_done_callback(lambda done: self._forget(run.id, done))

    def _forget(self, run_id: UUID, task: asyncio.Task[None]) -> None:
        if self.streams.get(run_id) is task:
            del self.streams[run_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("socket_stream_failed", exc_info=error)

    async def _send_run(self, run: Run, ref: str | None, after: int) -> None:
        try:
            async with RunFollower(run, after=after) as follower:
                is_over = False
                while not is_over:
                    events = await follower.read(timeout_seconds=READ_SECONDS)
                    await self._send_events(run, ref, events)
                    is_over = bool(events) and events[-1].is_end
                if events[-1].name == COMPLETED:
                    async for events in follower.read_title():
                        await self._send_events(run, ref, events)
        except AppError as error:
            await self._refuse(ref, error)

    async def _send_events(self, run: Run, ref: str | None, events: list[RunEvent]) -> None:
        for event in events:
            frame = {"type": event.name, "run_id": run.public_id, "seq": event.seq, "data": event.data}
            await self.send_json(frame | ({"ref": ref} if ref is not None else {}))

    async def _refuse(self, ref: str | None, error: AppError) -> None:
        await self.send_json({"type": "error", "ref": ref, "error": describe(error, self.actor.request_id)})


def _read_frame(text: str | None) -> Mapping[str, Any]:
    if text is None or len(text) > MAX_FRAME:
        raise InvalidInput(f"Send text frames of at most {MAX_FRAME} characters.")
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise InvalidInput("The frame is not JSON.") from None
    if not isinstance(frame, dict):
        raise InvalidInput("A frame is a JSON object.")
    return frame


def _run_id(frame: Mapping[str, Any]) -> UUID:
    found = id_in_body(Run, frame, "run_id")
    if found is None:
        raise NotFound()
    return found


def _number(frame: Mapping[str, Any], field: str) -> int:
    value = frame.get(field, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise InvalidInput(f"{field}: the number of an event.", errors={field: ["The number of an event."]})
    return value
