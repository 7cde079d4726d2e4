"""POST /v1/responses, and what can be done with a response that is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import orjson

from apps.core.errors import AppError, NotAuthenticated, PermissionRefused
from apps.gateway.dialects.base import PING_SECONDS, Answering, Asked
from apps.gateway.dialects.responses import OpenAIResponses, Prior, ResponsesWriter, read_request, show_id
from apps.gateway.dialects.responses.objects import parse_id
from apps.gateway.dialects.responses.writing import PING
from apps.gateway.edge.exchange import Exchange
from apps.gateway.edge.streaming import EVENT_STREAM, STREAM_HEADERS
from apps.gateway.errors import AccessWithdrawn, ParameterInvalid, ResponseUnknown
from apps.gateway.providers.tokens import count_prompt
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.loading import UNREACHABLE
from apps.gateway.selectors import Caller, confirm_caller
from apps.gateway.services import RunningCall
from apps.gateway.services.facts import read_tags
from apps.gateway.services.responses.archive import Archive
from apps.gateway.services.responses.background import run_in_background
from apps.gateway.services.responses.changing import cancel_response, remove_response
from apps.gateway.services.responses.desk import Desk, desk_of
from apps.gateway.services.responses.reading import Follower, find_prior, read_document, read_input
from apps.gateway.services.routing import find_named

RESPONSES = "/responses"
INPUT_TOKENS = "/responses/input_tokens"
DEFAULT_LIMIT = 20
MAX_LIMIT = 100
_TRUE = frozenset({"true", "1"})


class OneResponse(OpenAIResponses):
    """The dialect of one request, with what it goes on from. Remembers its writer, which knows how the answer ended."""

    def __init__(self, prior: Prior) -> None:
        self._prior = prior
        self.current: ResponsesWriter | None = None

    def read(self, body: dict[str, Any]) -> Asked:
        """Understand a request that may go on from something stored."""
        return read_request(body, self._prior)

    def writer(self, call: Answering, asked: Asked) -> ResponsesWriter:
        """Return the one writer of the answer."""
        self.current = super().writer(call, asked)
        return self.current


class ResponseKeeper:
    """Keeps one answer in the foreground: its events as they go out, its end before that is sent."""

    def __init__(self, *, desk: Desk, dialect: OneResponse, call: RunningCall, asked: Asked) -> None:
        self._desk = desk
        self._dialect = dialect
        self._call = call
        self._asked = asked
        self._archive: Archive | None = None

    async def keep_whole(self, body: bytes) -> None:
        """Store an answer in one piece."""
        assert self._dialect.current is not None
        await self._desk.end(self._open(), self._dialect.current.response)

    async def keep_events(self, *, events: bytes, is_last: bool) -> None:
        """Take events; store the response with the last ones."""
        writer = self._dialect.current
        assert writer is not None
        if self._archive is None:
            self._desk.begin(self._open())
        archive = self._open()
        archive.take(events, writer.sequence)
        if is_last:
            await self._desk.end(archive, writer.response)

    def abandon(self) -> None:
        """Take note that the answer ends here, because the server ends it; the desk stores that in its own time."""
        archive, writer = self._archive, self._dialect.current
        if archive is not None and writer is not None and archive.is_active:
            archive.take(writer.cancel(), writer.sequence)
            archive.end(writer.response)

    def _open(self) -> Archive:
        if self._archive is None:
            self._archive = make_archive(self._call, self._asked, self._dialect.current)
        return self._archive


def make_archive(call: RunningCall, asked: Asked, writer: ResponsesWriter | None) -> Archive:
    """Return what holds a response while it is written."""
    assert writer is not None
    options = asked.options
    return Archive(
        response_id=call.request_id,
        actor=call.caller.actor,
        model=call.model,
        items=options.input_items,
        describe=writer.describe,
        stop=lambda: call.abort(None),
        previous_id=options.previous_id,
        is_background=options.is_background,
        is_stream=call.is_stream,
    )


async def create_response(exchange: Exchange) -> None:
    """Answer POST /v1/responses."""
    caller = await exchange.authenticate()
    body = await exchange.read_object()
    runtime = exchange.runtime
    prior = await find_prior(runtime=runtime, actor=caller.actor, body=body)
    dialect = exchange.dialect = OneResponse(prior)
    asked = dialect.read(body)
    options = asked.options
    wants_stream = bool(asked.request.get("stream"))
    if options.is_background:
        # Always streamed by the provider: so it can be followed, and what has come is there when it is cancelled.
        asked.request["stream"] = True
    call = await exchange.prepare(caller, asked, tags=read_tags((body.get("metadata") or {}).get("tags")))
    if options.toolbox.dropped:
        exchange.add_header(b"x-portico-dropped-tools", ",".join(options.toolbox.dropped).encode("latin-1", "replace"))
    if options.is_background:
        await _answer_from_background(exchange, call, asked, dialect, wants_stream=wants_stream)
        return
    keeper: ResponseKeeper | None = None
    if options.is_stored:
        keeper = ResponseKeeper(desk=desk_of(runtime), dialect=dialect, call=call, asked=asked)
        exchange.keeper = keeper
    try:
        await exchange.deliver(call, asked)
    except asyncio.CancelledError:
        if keeper is not None:
            keeper.abandon()
        raise
    await _end_stopped(exchange, dialect, keeper)


async def _end_stopped(exchange: Exchange, dialect: OneResponse, keeper: ResponseKeeper | None) -> None:
    """Send the last event of a stream that was stopped by somebody else, or that nobody reads any more."""
    stream, writer = exchange.stream, dialect.current
    if keeper is not None and stream is not None and stream.has_begun and writer is not None and not writer.response:
        await stream.end(writer.cancel())


async def _answer_from_background(
    exchange: Exchange, call: RunningCall, asked: Asked, dialect: OneResponse, *, wants_stream: bool
) -> None:
    desk = desk_of(exchange.runtime)
    writer = dialect.writer(call, asked)
    archive = make_archive(call, asked, writer)
    archive.is_stream = wants_stream
    shown = archive.document
    run_in_background(desk=desk, call=call, archive=archive, writer=writer)
    if wants_stream:
        await _follow(
            exchange, call.caller, Follower(runtime=exchange.runtime, actor=call.caller.actor, response_id=archive.id)
        )
        return
    await desk.store(archive)
    await exchange.send_json(200, shown.encode())


async def count_input(exchange: Exchange) -> None:
    """Answer POST /v1/responses/input_tokens: how long a prompt is, before it is sent. Costs nothing."""
    caller = await exchange.authenticate()
    body = await exchange.read_object()
    prior = await find_prior(runtime=exchange.runtime, actor=caller.actor, body=body)
    asked = read_request(body, prior)
    snapshot = await exchange.runtime.catalogue.ready()
    find_named(snapshot, caller, body["model"])
    # In a thread: long prompts take long, and the first one loads the vocabulary.
    loop = exchange.runtime.loop
    count = await loop.run_in_executor(None, count_prompt, asked.request, body["model"])
    await exchange.send_json(200, orjson.dumps({"object": "response.input_tokens", "input_tokens": count}))


def find_endpoint(path: str) -> dict[str, Callable[[Exchange], Coroutine[Any, Any, None]]] | None:
    """Return the methods of a path below /responses; None when there is no such path."""
    name, _, rest = path[len(RESPONSES) + 1 :].partition("/")
    kind = _PLACES.get(rest)
    if not name or kind is None:
        return None
    return {method: _bind(work, name) for method, work in kind.items()}


async def retrieve_response(exchange: Exchange, caller: Caller, response_id: UUID) -> None:
    """Answer GET /v1/responses/{id}: the object, or with `stream` its events from a place on."""
    query = _read_query(exchange)
    if query.get("stream", "") not in _TRUE:
        document = await read_document(runtime=exchange.runtime, actor=caller.actor, response_id=response_id)
        await exchange.send_json(200, document.encode())
        return
    after = _read_number(query, "starting_after", default=-1, lowest=-1, highest=2**31 - 1)
    follower = Follower(runtime=exchange.runtime, actor=caller.actor, response_id=response_id, after=after)
    await follower.check()
    await _follow(exchange, caller, follower)


async def delete_response(exchange: Exchange, caller: Caller, response_id: UUID) -> None:
    """Answer DELETE /v1/responses/{id}."""
    await remove_response(runtime=exchange.runtime, actor=caller.actor, response_id=response_id)
    await exchange.send_json(200, orjson.dumps({"id": show_id(response_id), "object": "response", "deleted": True}))


async def stop_response(exchange: Exchange, caller: Caller, response_id: UUID) -> None:
    """Answer POST /v1/responses/{id}/cancel."""
    document = await cancel_response(runtime=exchange.runtime, actor=caller.actor, response_id=response_id)
    await exchange.send_json(200, document.encode())


async def list_input(exchange: Exchange, caller: Caller, response_id: UUID) -> None:
    """Answer GET /v1/responses/{id}/input_items: newest first unless `order` says otherwise."""
    query = _read_query(exchange)
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise ParameterInvalid(f"`order` is {order[:50]!r}; it has to be one of asc, desc.", param="order")
    limit = _read_number(query, "limit", default=DEFAULT_LIMIT, lowest=1, highest=MAX_LIMIT)
    items = await read_input(runtime=exchange.runtime, actor=caller.actor, response_id=response_id)
    if order == "desc":
        items.reverse()
    after = query.get("after")
    if after:
        at = next((at for at, item in enumerate(items) if item["id"] == after), None)
        if at is None:
            raise ParameterInvalid(f"`after` is {after[:80]!r}, which is no item of this input.", param="after")
        items = items[at + 1 :]
    page = items[:limit]
    answer = {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(items) > limit,
    }
    await exchange.send_json(200, orjson.dumps(answer))


Work = Callable[[Exchange, Caller, UUID], Coroutine[Any, Any, None]]
_PLACES: dict[str, dict[str, Work]] = {
    "": {"GET": retrieve_response, "DELETE": delete_response},
    "cancel": {"POST": stop_response},
    "input_items": {"GET": list_input},
}


def _bind(work: Work, name: str) -> Callable[[Exchange], Coroutine[Any, Any, None]]:
    async def answer(exchange: Exchange) -> None:
        caller = await exchange.authenticate()
        response_id = parse_id(name)
        if response_id is None:
            raise ResponseUnknown(f"Response {name[:80]!r} does not exist, or is not stored any more.")
        await work(exchange, caller, response_id)

    return answer


class _Following:
    """A client that follows a response: looked after while it does, as calls are."""

    def __init__(self, exchange: Exchange, caller: Caller, follower: Follower) -> None:
        self._runtime: Runtime = exchange.runtime
        self._caller = caller
        self._follower = follower

    def tick(self, now: float) -> None:
        """Do nothing: pings come from reading."""

    def concerns(self, changed_id: str) -> bool:
        """Tell whether a change is about the reader."""
        return changed_id in self._caller.ids()

    async def recheck(self) -> None:
        """End the reading when its reader may not call any more."""
        try:
            await self._runtime.loader.load(lambda: confirm_caller(self._caller, model=""))
        except (NotAuthenticated, PermissionRefused) as error:
            self._follower.end(AccessWithdrawn(error.message))
        except UNREACHABLE:
            pass  # nobody can say; the next change or reconnection asks again


async def _follow(exchange: Exchange, caller: Caller, follower: Follower) -> None:
    """Send events as they come, up to the last one or until the client leaves."""
    watched = _Following(exchange, caller, follower)
    watch = exchange.runtime.loop.create_task(_watch_client(exchange, follower))
    exchange.runtime.watched.add(watched)
    try:
        await exchange.begin_stream(EVENT_STREAM, STREAM_HEADERS)
        is_over = False
        while not is_over:
            events, is_over = await follower.read(timeout_seconds=PING_SECONDS)
            await exchange.send_part(events.encode() or (b"" if is_over else PING), is_last=is_over)
    except _Left:
        pass
    except AppError as error:
        # Who followed loses the right to; the response itself goes on.
        body = orjson.dumps({"type": "error", "code": error.code, "message": error.message, "param": None})
        await exchange.send_part(b"event: error\ndata: %s\n\n" % body, is_last=True)
    finally:
        exchange.runtime.watched.discard(watched)
        watch.cancel()


class _Left(Exception):
    """The client is gone."""


async def _watch_client(exchange: Exchange, follower: Follower) -> None:
    while (await exchange.receive())["type"] != "http.disconnect":
        pass
    follower.end(_Left())


def _read_query(exchange: Exchange) -> dict[str, str]:
    given = parse_qs(exchange.scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    return {name: values[-1] for name, values in given.items()}


def _read_number(query: dict[str, str], name: str, *, default: int, lowest: int, highest: int) -> int:
    text = query.get(name)
    if text is None or text == "":
        return default
    try:
        number = int(text)
    except ValueError:
        number = lowest - 1
    if len(text) > 20 or not lowest <= number <= highest:
        raise ParameterInvalid(f"`{name}` has to be an integer from {lowest} to {highest}.", param=name)
    return number
