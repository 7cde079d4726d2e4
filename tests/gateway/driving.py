"""An ASGI client by hand: it sees every message as it is sent, and can leave at any moment."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from apps.gateway.edge import GatewayApplication


class Exchange:
    """One request to the edge. `sent` holds the messages it answered with so far."""

    def __init__(
        self,
        path: str,
        *,
        secret: str = "",
        body: Any = None,
        parts: list[bytes] | None = None,
        method: str = "POST",
        query: str = "",
        headers: dict[str, str] | None = None,
        leaves_while_sending: bool = False,
    ) -> None:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        self._parts = parts if parts is not None else [content]
        named = {"content-type": "application/json", **(headers or {})}
        if secret:
            named["authorization"] = f"Bearer {secret}"
        self._scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        }
        self._gone = asyncio.Event()
        self._leaves_while_sending = leaves_while_sending
        self._changed = asyncio.Condition()
        self.sent: list[dict[str, Any]] = []
        self.task = asyncio.create_task(GatewayApplication()(self._scope, self._receive, self._send))

    @property
    def status(self) -> int:
        """Return the status that was answered."""
        return self.sent[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that were answered."""
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def content(self) -> bytes:
        """Return the body so far."""
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def is_complete(self) -> bool:
        """Tell whether the last byte was sent."""
        return bool(self.sent) and self.sent[-1].get("more_body") is not True and len(self.sent) > 1

    def json(self) -> Any:
        """Return the body as JSON."""
        return orjson.loads(self.content)

    async def wait_for(self, text: bytes) -> None:
        """Return when the body holds a text."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: text in self.content)

    async def finish(self) -> Exchange:
        """Return when the application has."""
        await asyncio.wait_for(self.task, timeout=10)
        return self

    def leave(self) -> None:
        """Close the connection."""
        self._gone.set()

    async def _receive(self) -> dict[str, Any]:
        if self._parts:
            part = self._parts.pop(0)
            has_more = bool(self._parts) or self._leaves_while_sending
            return {"type": "http.request", "body": part, "more_body": has_more}
        if not self._leaves_while_sending:
            await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        async with self._changed:
            self.sent.append(message)
            self._changed.notify_all()
