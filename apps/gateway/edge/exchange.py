"""One request of `/v1`: in, through the life of a call, and out again."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from apps.core.context import set_request_id
from apps.core.errors import AppError
from apps.core.ids import encode_id, uuid7
from apps.core.money import from_micros
from apps.gateway.edge.cors import cors_headers
from apps.gateway.edge.problems import JSON, Headers, encode_error, error_headers
from apps.gateway.edge.reading import (
    ClientGone,
    HeaderMap,
    Receive,
    check_media_type,
    parse_object,
    read_body,
    read_secret,
)
from apps.gateway.edge.streaming import EventStream
from apps.gateway.providers.base import CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS
from apps.gateway.providers.chunk_writer import wants_usage
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.metrics import OVERHEAD, REFUSALS
from apps.gateway.selectors import Caller
from apps.gateway.services import RunningCall, prepare_call
from apps.gateway.services.answers import encode_completion
from apps.gateway.services.validation import check_chat, check_embedding
from apps.users.choices import RANK, Role
from apps.users.errors import RoleTooLow, ScopeMissing

logger = structlog.get_logger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]

SCOPE = "gateway:use"
CALLING_ROLES = frozenset(role.value for role, rank in RANK.items() if rank >= RANK[Role.MEMBER])
WATCH_AFTER_SECONDS = 0.25
ACCEPTED_ID = re.compile(rb"^[A-Za-z0-9._-]{8,128}$")


class Exchange:
    """A request and its answer. `send` is called by one task at a time, pings aside."""

    __slots__ = ("_begun", "_call", "_given_id", "_is_answered", "_send", "_watch", "headers", "receive", "request_id", "runtime", "scope", "stream")  # fmt: skip

    def __init__(self, runtime: Runtime, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self._begun = time.perf_counter()
        self.runtime = runtime
        self.scope = scope
        self.receive = receive
        self._send = send
        self.headers: HeaderMap = dict(scope["headers"])
        self.request_id = uuid7()
        given = self.headers.get(b"x-request-id")
        self._given_id = given if given is not None and ACCEPTED_ID.match(given) else None
        self._call: RunningCall | None = None
        self._watch: asyncio.Task[None] | None = None
        self._is_answered = False
        self.stream: EventStream | None = None

    # Answering

    async def answer(self, work: Coroutine[Any, Any, None]) -> None:
        """Carry out a request; whatever it raises is answered in OpenAI's shape."""
        try:
            await work
        except ClientGone:
            pass
        except AppError as error:
            await self.refuse(error)
        except asyncio.CancelledError:
            raise
        except Exception:
            set_request_id(self._public_id())
            logger.exception("gateway_failed", path=self.scope["path"])
            await self.refuse(
                AppError("Something failed on our side; quote the request id.", code="internal_error", status=500)
            )
        finally:
            self._is_answered = True

    async def refuse(self, error: AppError) -> None:
        """Answer with a failure: as a whole, or as the last event of a stream that has begun."""
        if self._call is None:
            REFUSALS.labels(error.code).inc()
        if self.stream is not None and self.stream.has_begun:
            await self.stream.fail(error)
            return
        await self.send_json(error.status, encode_error(error), error_headers(error))

    async def send_json(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        """Answer in one piece."""
        await self._send({"type": "http.response.start", "status": status, "headers": self._head(JSON, headers, body)})
        await self._send({"type": "http.response.body", "body": body})

    async def send_empty(self, status: int, headers: Headers) -> None:
        """Answer without a body."""
        public_id = self._public_id().encode()
        head = [(b"x-request-id", self._given_id or public_id), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": b""})

    # Requests

    async def chat(self) -> None:
        """Answer POST /v1/chat/completions."""
        caller = await self.authenticate()
        request = await self._read_object()
        check_chat(request)
        await self._prepare(caller, request, CAPABILITY_CHAT, "chat.completions")
        if self._call is not None and self._call.is_stream:
            await self._answer_stream(self._call, request)
        else:
            await self._answer_whole()

    async def embed(self) -> None:
        """Answer POST /v1/embeddings."""
        caller = await self.authenticate()
        request = await self._read_object()
        check_embedding(request)
        await self._prepare(caller, request, CAPABILITY_EMBEDDINGS, "embeddings")
        await self._answer_whole()

    async def authenticate(self) -> Caller:
        """Return the caller. Raise NotAuthenticated, ScopeMissing, RoleTooLow, or a DependencyDown."""
        secret = read_secret(self.headers)
        callers = self.runtime.callers
        caller = callers.known(secret) or await callers.find(secret)
        actor = caller.actor
        if not actor.has_scope(SCOPE):
            raise ScopeMissing(f"This needs the scope {SCOPE}.")
        if actor.role not in CALLING_ROLES:
            raise RoleTooLow(f"This needs the role {Role.MEMBER} in the organization; yours is {actor.role or 'none'}.")
        return caller

    async def _read_object(self) -> dict[str, Any]:
        check_media_type(self.headers)
        return parse_object(await read_body(self.receive, self.headers))

    async def _prepare(self, caller: Caller, request: dict[str, Any], kind: str, endpoint: str) -> None:
        call = await prepare_call(
            runtime=self.runtime,
            caller=caller,
            request=request,
            kind=kind,
            endpoint=endpoint,
            request_id=self.request_id,
        )
        call.on_tick = self._tick
        self._call = call

    async def _answer_whole(self) -> None:
        call = self._call
        assert call is not None
        completion = await call.result()
        body = encode_completion(completion, call)
        overhead = time.perf_counter() - self._begun - call.upstream_seconds
        OVERHEAD.observe(overhead)
        headers = self._call_headers(call)
        headers.append((b"x-portico-cost", str(from_micros(call.cost_micros or 0)).encode()))
        headers.append((b"x-portico-overhead-ms", b"%.2f" % (overhead * 1000)))
        await self.send_json(200, body, headers)

    async def _answer_stream(self, call: RunningCall, request: dict[str, Any]) -> None:
        stream = self.stream = EventStream(
            send=self._send,
            call=call,
            include_usage=wants_usage(request),
            head=lambda content_type: self._head(content_type, self._call_headers(call)),
        )
        await call.start()
        await stream.run()

    # While the answer is on its way

    def _tick(self, now: float) -> None:
        if self._is_answered:
            return
        if self._watch is None and time.perf_counter() - self._begun > WATCH_AFTER_SECONDS:
            self._watch = self.runtime.loop.create_task(self._watch_client())
        if self.stream is not None:
            self.stream.tick(now)

    async def _watch_client(self) -> None:
        """Wait until the client is gone; then nobody needs the rest."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        if self._call is not None and not self._is_answered:
            self._call.abort(None)

    # Headers

    def _public_id(self) -> str:
        return self._call.public_id if self._call is not None else encode_id("req", self.request_id)

    def _head(self, content_type: bytes, headers: Headers | None, body: bytes | None = None) -> Headers:
        public_id = self._public_id().encode()
        head: Headers = [
            (b"content-type", content_type),
            (b"x-request-id", self._given_id or public_id),
            (b"x-portico-request-id", public_id),
        ]
        if body is not None:
            head.append((b"content-length", b"%d" % len(body)))
        if headers:
            head += headers
        origin = self.headers.get(b"origin")
        if origin is not None:
            head += cors_headers(origin)
        return head

    def _call_headers(self, call: RunningCall) -> Headers:
        headers: Headers = [
            (b"x-portico-model", call.model.encode("latin-1", "replace")),
            (b"x-portico-provider", call.provider.encode("latin-1", "replace")),
            (b"x-portico-attempts", b"%d" % call.meter.attempts),
        ]
        if call.admission is not None:
            headers += call.admission.headers()
        return headers
