"""One request of `/v1`: in, through the life of a call, and out again."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import orjson
import structlog

from apps.core.context import set_request_id
from apps.core.errors import AppError
from apps.core.ids import encode_id, uuid7
from apps.core.money import from_micros
from apps.gateway.dialects.base import Asked, Dialect, Headers
from apps.gateway.dialects.registry import OPENAI_CHAT
from apps.gateway.edge.cors import cors_headers
from apps.gateway.edge.reading import (
    ClientGone,
    HeaderMap,
    Receive,
    check_media_type,
    parse_object,
    read_body,
    read_secret,
)
from apps.gateway.edge.streaming import EventStream, Keeper
from apps.gateway.errors import ParameterInvalid
from apps.gateway.providers.base import Completion
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.metrics import OVERHEAD, REFUSALS
from apps.gateway.selectors import Caller
from apps.gateway.services import RunningCall, prepare_call
from apps.gateway.services.caching import CacheControl, read_control
from apps.gateway.services.dry_run import explain_call
from apps.gateway.services.facts import MAX_TAGS, TAG
from apps.users.choices import RANK, Role
from apps.users.errors import RoleTooLow, ScopeMissing

logger = structlog.get_logger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]

JSON = b"application/json"
SCOPE = "gateway:use"
CALLING_ROLES = frozenset(role.value for role, rank in RANK.items() if rank >= RANK[Role.MEMBER])
WATCH_AFTER_SECONDS = 0.25
TAGS_HEADER = b"x-portico-tags"
NO_FALLBACKS_HEADER = b"x-portico-disable-fallbacks"
DRY_RUN_HEADER = b"x-portico-dry-run"
YES = frozenset({b"true", b"1", b"yes"})
NO_FALLBACK = (b"x-portico-fallback", b"false")
ACCEPTED_ID = re.compile(rb"^[A-Za-z0-9._-]{8,128}$")


class DryRun(Exception):
    """What would be decided about a call that its client does not want made."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__("dry run")
        self.told = told


class Exchange:
    """A request and its answer. `send` is called by one task at a time, pings aside."""

    __slots__ = ("_begun", "_call", "_further", "_given_id", "_is_answered", "_send", "_watch", "dialect", "headers", "keeper", "receive", "request_id", "runtime", "scope", "stream")  # fmt: skip

    def __init__(
        self,
        runtime: Runtime,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
        *,
        dialect: Dialect = OPENAI_CHAT,
    ) -> None:
        self._begun = time.perf_counter()
        self.dialect = dialect
        """Whose words failures are told in."""
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
        self._further: Headers = []
        self.stream: EventStream | None = None
        self.keeper: Keeper | None = None
        """Keeps the answer, where somebody may want to read it again."""

    # Answering

    async def answer(self, work: Coroutine[Any, Any, None]) -> None:
        """Carry out a request; whatever it raises is answered in the client's own format."""
        try:
            await work
        except ClientGone:
            pass
        except DryRun as found:
            await self.send_json(200, orjson.dumps(found.told), [(DRY_RUN_HEADER, b"true")])
        except AppError as error:
            await self.refuse(error)
        except asyncio.CancelledError:
            raise
        except Exception:
            set_request_id(self.public_id)
            logger.exception("gateway_failed", path=self.scope["path"])
            await self.refuse(
                AppError("Something failed on our side; quote the request id.", code="internal_error", status=500)
            )
        finally:
            self._is_answered = True
            if self._call is not None:
                self._call.release()

    async def refuse(self, error: AppError) -> None:
        """Answer with a failure: as a whole, or as the last event of a stream that has begun."""
        if self._call is None:
            REFUSALS.labels(error.code).inc()
        if self.stream is not None and self.stream.has_begun:
            await self.stream.fail(error)
            return
        public_id = self.public_id
        headers = self.dialect.error_headers(error, public_id)
        await self.send_json(error.status, self.dialect.write_error(error, public_id), headers)

    async def send_json(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        """Answer in one piece."""
        await self._send({"type": "http.response.start", "status": status, "headers": self._head(JSON, headers, body)})
        await self._send({"type": "http.response.body", "body": body if self.scope["method"] != "HEAD" else b""})

    async def send_empty(self, status: int, headers: Headers) -> None:
        """Answer without a body."""
        public_id = self.public_id.encode()
        head = [(b"x-request-id", self._given_id or public_id), *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": b""})

    async def begin_stream(self, content_type: bytes, headers: Headers) -> None:
        """Begin an answer that is no call's, to be sent in parts."""
        head = self._head(content_type, headers)
        await self._send({"type": "http.response.start", "status": 200, "headers": head})

    async def send_part(self, body: bytes, *, is_last: bool) -> None:
        """Send a part of an answer that has begun."""
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    def add_header(self, name: bytes, value: bytes) -> None:
        """Send a further header with the answer."""
        self._further.append((name, value))

    # Requests

    async def serve(self) -> None:
        """Answer a call of a model in the dialect of its path."""
        caller = await self.authenticate()
        asked = self.dialect.read(await self.read_object())
        call = self._call = await self.prepare(caller, asked)
        await self.deliver(call, asked)

    async def prepare(self, caller: Caller, asked: Asked, *, tags: tuple[str, ...] = ()) -> RunningCall:
        """Let a call in; `tags` come from its body. Whoever asks for it has to deliver or to release it.

        Raise DryRun when the client only wants to know what would be decided.
        """
        dialect = self.dialect
        if self.headers.get(DRY_RUN_HEADER, b"").lower() in YES:
            raise DryRun(
                await explain_call(
                    runtime=self.runtime,
                    caller=caller,
                    request=asked.request,
                    kind=dialect.kind,
                    request_id=self.request_id,
                    tags=self._read_tags() + tags,
                    disables_fallbacks=self.headers.get(NO_FALLBACKS_HEADER, b"").lower() in YES,
                    cache_control=self._read_cache_control(),
                )
            )
        return await prepare_call(
            runtime=self.runtime,
            caller=caller,
            request=asked.request,
            kind=dialect.kind,
            endpoint=dialect.endpoint,
            request_id=self.request_id,
            tags=self._read_tags() + tags,
            native=asked.native,
            native_dialect=dialect.name,
            native_headers=self.passed_on() if asked.native is not None else None,
            native_only=asked.native_only,
            disables_fallbacks=self.headers.get(NO_FALLBACKS_HEADER, b"").lower() in YES,
            cache_control=self._read_cache_control(),
        )

    async def deliver(self, call: RunningCall, asked: Asked) -> None:
        """Make a call and answer with what comes, as a whole or as a stream."""
        self._call = call
        call.on_tick = self._tick
        if call.is_stream:
            await self._answer_stream(call, asked)
        else:
            await self._answer_whole(call, asked)

    async def carry_out(self, call: RunningCall) -> Completion:
        """Make one of several calls of this request, and return what comes."""
        self._call = call
        call.on_tick = self._tick
        try:
            return await call.result()
        finally:
            call.release()

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

    async def read_object(self) -> dict[str, Any]:
        """Return the JSON object that was sent. Raise MediaTypeRefused, BodyTooLarge or BodyMalformed."""
        check_media_type(self.headers)
        return parse_object(await read_body(self.receive, self.headers))

    def _read_tags(self) -> tuple[str, ...]:
        given = self.headers.get(TAGS_HEADER)
        if given is None:
            return ()
        tags = tuple(tag.strip() for tag in given.decode("latin-1").split(",") if tag.strip())
        wrong = next((tag for tag in tags if not TAG.match(tag)), None)
        if wrong is not None or len(tags) > MAX_TAGS:
            raise ParameterInvalid(
                f"`x-portico-tags` takes at most {MAX_TAGS} tags of letters, digits and _ . : / -, up to 64 each, "
                f"separated by commas; {wrong if wrong is not None else len(tags)!r} is not possible.",
                param="x-portico-tags",
            )
        return tags

    def _read_cache_control(self) -> CacheControl | None:
        ours, standard = self.headers.get(b"x-portico-cache"), self.headers.get(b"cache-control")
        if ours is None and standard is None:
            return None
        return read_control((ours or b"").decode("latin-1"), (standard or b"").decode("latin-1"))

    def passed_on(self) -> dict[str, str]:
        """Return the client's headers that a provider of the same format gets."""
        headers = self.headers
        return {name.decode(): headers[name].decode("latin-1") for name in self.dialect.passed_on if name in headers}

    async def _answer_whole(self, call: RunningCall, asked: Asked) -> None:
        completion = await call.result()
        body = self.dialect.write(completion, call, asked)
        if self.keeper is not None:
            await self.keeper.keep_whole(body)
        overhead = time.perf_counter() - self._begun - call.upstream_seconds
        OVERHEAD.observe(overhead)
        headers = self._call_headers(call)
        headers.append((b"x-portico-cost", str(from_micros(call.cost_micros or 0)).encode()))
        headers.append((b"x-portico-overhead-ms", b"%.2f" % (overhead * 1000)))
        await self.send_json(200, body, headers)

    async def _answer_stream(self, call: RunningCall, asked: Asked) -> None:
        stream = self.stream = EventStream(
            send=self._send,
            call=call,
            writer=self.dialect.writer(call, asked),
            keeper=self.keeper,
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

    @property
    def public_id(self) -> str:
        """Return the id by which the request is told to the client, and to the provider."""
        return self._call.public_id if self._call is not None else encode_id("req", self.request_id)

    def _head(self, content_type: bytes, headers: Headers | None, body: bytes | None = None) -> Headers:
        public_id = self.public_id.encode()
        head: Headers = [
            (b"content-type", content_type),
            (b"x-request-id", self._given_id or public_id),
            (b"x-portico-request-id", public_id),
        ]
        if self.dialect.id_header:
            head.append((self.dialect.id_header, public_id))
        if body is not None:
            head.append((b"content-length", b"%d" % len(body)))
        if headers:
            head += headers
        if self._further:
            head += self._further
        origin = self.headers.get(b"origin")
        if origin is not None:
            head += cors_headers(origin)
        return head

    def _call_headers(self, call: RunningCall) -> Headers:
        headers: Headers = [
            (b"x-portico-model", call.answering_model.encode("latin-1", "replace")),
            (b"x-portico-provider", call.provider.encode("latin-1", "replace")),
            (b"x-portico-attempts", b"%d" % call.meter.attempts),
            *_fallback_headers(call),
        ]
        if call.cache is not None:
            headers += call.cache.headers()
        if call.admission is not None:
            headers += self.dialect.limit_headers(call.admission.headers())
        return headers


def _fallback_headers(call: RunningCall) -> Headers:
    """Return whether another model answers than the one that was meant, and why."""
    way = call.plan.way
    if way is None or not way.reason:
        return [NO_FALLBACK]
    return [(b"x-portico-fallback", b"true"), (b"x-portico-fallback-reason", way.reason.encode())]
