"""The ASGI application: which request is whose, and the life of the process around them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import orjson
import structlog

from apps.gateway.dialects.base import Dialect
from apps.gateway.dialects.openai_completions import OpenAICompletions
from apps.gateway.dialects.registry import ANTHROPIC_MESSAGES, DIALECTS, OPENAI_CHAT
from apps.gateway.edge.completions import complete_text
from apps.gateway.edge.cors import preflight_headers
from apps.gateway.edge.counting import count_tokens
from apps.gateway.edge.exchange import Exchange, Send
from apps.gateway.edge.listing import get_model, list_models
from apps.gateway.edge.moderations import moderate
from apps.gateway.edge.reading import Receive
from apps.gateway.edge.responses import INPUT_TOKENS, RESPONSES, count_input, create_response, find_endpoint
from apps.gateway.errors import MethodRefused, RouteUnknown
from apps.gateway.runtime import get_runtime
from apps.gateway.runtime.guard_hits import close_spool
from apps.gateway.runtime.state import close_journal

logger = structlog.get_logger(__name__)

Endpoint = Callable[[Exchange], Coroutine[Any, Any, None]]

VERSION = "/v1"
MODELS = "/models"
COUNT_TOKENS = "/messages/count_tokens"
COMPLETIONS = "/completions"
MODERATIONS = "/moderations"
BARE_PATHS = frozenset({VERSION, MODELS, COUNT_TOKENS, COMPLETIONS, MODERATIONS, RESPONSES, *DIALECTS})
"""Answered without `/v1` too."""
SWITCH_SECONDS = 0.001
"""Longest time that another thread (one that ships usage, say) holds the interpreter while calls wait for it."""


class GatewayApplication:
    """Serves `/v1/*`, and the same endpoints without `/v1` for clients that leave it out."""

    def serves(self, path: str) -> bool:
        """Tell whether a path is the gateway's."""
        return path.startswith(("/v1/", f"{MODELS}/", f"{RESPONSES}/")) or path in BARE_PATHS

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection scope: a request, or the life of the process."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = _bare(scope["path"])
        exchange = Exchange(get_runtime(), scope, receive, send, dialect=_words_of(path))
        await exchange.answer(self._dispatch(exchange, path))

    def _dispatch(self, exchange: Exchange, path: str) -> Coroutine[Any, Any, None]:
        method: str = exchange.scope["method"]
        if method == "OPTIONS" and b"access-control-request-method" in exchange.headers:
            return _preflight(exchange)
        if path in DIALECTS:
            return exchange.serve() if method == "POST" else _refuse_method(method, "POST")
        found = _find_endpoint(path)
        if found is None:
            return _refuse_path(exchange.scope["path"])
        work = found.get("GET" if method == "HEAD" else method)
        return work(exchange) if work is not None else _refuse_method(method, ", ".join(found))

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        _settle_down()
        # Neither database nor Redis needs to be there: what they know is fetched when they are.
        runtime = get_runtime()
        runtime.catalogue.refresh()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await runtime.close()
        await runtime.loop.run_in_executor(None, close_journal)
        await runtime.loop.run_in_executor(None, close_spool)
        await send({"type": "lifespan.shutdown.complete"})


_COMPLETIONS: Dialect = OpenAICompletions()


def _words_of(path: str) -> Dialect:
    """Return the dialect in which a path's failures are told."""
    if path == COMPLETIONS:
        return _COMPLETIONS
    return ANTHROPIC_MESSAGES if path == COUNT_TOKENS else DIALECTS.get(path, OPENAI_CHAT)


def _bare(path: str) -> str:
    """Return a path without `/v1` and without a slash at its end."""
    if path.startswith(VERSION):
        path = path[len(VERSION) :]
    return path[:-1] if len(path) > 1 and path.endswith("/") else path


def _settle_down() -> None:
    """Prepare the interpreter for serving: what is loaded by now stays, and no thread keeps the loop waiting for long."""
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)


def _find_endpoint(path: str) -> dict[str, Endpoint] | None:
    """Return what answers a path that is no call of a model, by method."""
    found = ENDPOINTS.get(path)
    if found is None and path.startswith(f"{MODELS}/"):
        return {"GET": partial(_get, name=path[len(MODELS) + 1 :])}
    if found is None and path.startswith(f"{RESPONSES}/"):
        return find_endpoint(path)
    return found


async def _list(exchange: Exchange) -> None:
    is_anthropic = _heed_version(exchange)
    caller = await exchange.authenticate()
    snapshot = await exchange.runtime.catalogue.ready()
    await exchange.send_json(200, orjson.dumps(list_models(snapshot, caller, for_anthropic=is_anthropic)))


async def _get(exchange: Exchange, name: str) -> None:
    is_anthropic = _heed_version(exchange)
    caller = await exchange.authenticate()
    snapshot = await exchange.runtime.catalogue.ready()
    await exchange.send_json(200, orjson.dumps(get_model(snapshot, caller, name, for_anthropic=is_anthropic)))


def _heed_version(exchange: Exchange) -> bool:
    """Tell whether a client of Anthropic's asks, by the header that all of them send; failures are in its words then."""
    is_anthropic = b"anthropic-version" in exchange.headers
    if is_anthropic:
        exchange.dialect = ANTHROPIC_MESSAGES
    return is_anthropic


ENDPOINTS: dict[str, dict[str, Endpoint]] = {
    COUNT_TOKENS: {"POST": count_tokens},
    MODELS: {"GET": _list},
    RESPONSES: {"POST": create_response},
    INPUT_TOKENS: {"POST": count_input},
    COMPLETIONS: {"POST": complete_text},
    MODERATIONS: {"POST": moderate},
}


async def _preflight(exchange: Exchange) -> None:
    origin = exchange.headers.get(b"origin", b"")
    asked = exchange.headers.get(b"access-control-request-headers", b"")
    await exchange.send_empty(204, preflight_headers(origin, asked))


async def _refuse_method(method: str, allowed: str) -> None:
    raise MethodRefused(f"{method} is not possible here; use {allowed}.", headers={"allow": allowed})


async def _refuse_path(path: str) -> None:
    raise RouteUnknown(f"There is no endpoint {path[:200]!r}.")
