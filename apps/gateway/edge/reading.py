"""What came in: credential, body, JSON; each within its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from django.conf import settings

from apps.core.errors import NotAuthenticated
from apps.core.nesting import MAX_DEPTH, is_too_deep
from apps.gateway.errors import BodyMalformed, BodyTooLarge, MediaTypeRefused

Receive = Callable[[], Awaitable[dict[str, Any]]]
HeaderMap = dict[bytes, bytes]

BODY_SECONDS = 60.0
"""Longest wait for the rest of a body that comes in parts."""


class ClientGone(Exception):
    """The client closed its connection before it had sent everything."""


def read_secret(headers: HeaderMap) -> str:
    """Return the key or token of the request. Raise NotAuthenticated when there is none."""
    given = headers.get(b"authorization")
    if given is not None and given[:7].lower() == b"bearer ":
        secret = given[7:].strip()
    else:
        secret = headers.get(b"x-api-key", b"").strip()
    if not secret:
        raise NotAuthenticated("Send an API key as `Authorization: Bearer …` or as `x-api-key: …`.")
    return secret.decode("latin-1")


def check_media_type(headers: HeaderMap) -> None:
    """Raise MediaTypeRefused for anything but plain JSON."""
    kind = headers.get(b"content-type")
    if kind is not None and kind != b"application/json":
        essence = kind.split(b";", 1)[0].strip().lower()
        if essence != b"application/json" and not essence.endswith(b"+json"):
            shown = essence[:100].decode("latin-1")
            raise MediaTypeRefused(f"Send the body with `Content-Type: application/json`, not {shown!r}.")
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in {b"", b"identity"}:
        raise MediaTypeRefused("Send the body uncompressed: `Content-Encoding` is not supported here.")


async def read_body(receive: Receive, headers: HeaderMap) -> bytes:
    """Return the whole body. Raise BodyTooLarge as soon as it is known to be, ClientGone when it never arrives."""
    limit: int = settings.GATEWAY_MAX_BODY_BYTES
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _read_rest(receive, body, limit)
        except TimeoutError:
            raise BodyMalformed(f"The body did not arrive within {BODY_SECONDS:g} s.", status=408) from None
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def _read_rest(receive: Receive, first: bytes, limit: int) -> bytes:
    parts, size = [first], len(first)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join(parts)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body. Raise BodyMalformed for anything else, and for one that is nested too deeply."""
    if not body:
        raise BodyMalformed("The body is empty; a JSON object is expected.")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f" (line {error.lineno}, column {error.colno})" if error.pos else ""
        raise BodyMalformed(f"The body is not valid JSON: {error.msg}{where}.") from None
    if not isinstance(found, dict):
        raise BodyMalformed("The body has to be a JSON object.")
    if is_too_deep(found, body=body):
        raise BodyMalformed(f"The body is nested more than {MAX_DEPTH} levels deep.")
    return found


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit} bytes, the most that is accepted.")
