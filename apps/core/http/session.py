"""Connections to many servers, kept for the next request."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Self

import aiohappyeyeballs

from apps.core.http.address import Origin, read_address, write_head
from apps.core.http.connection import Connection
from apps.core.http.errors import ConnectFailed, ConnectTimedOut
from apps.core.http.response import Response

KEEPALIVE_SECONDS = 30.0
NAME_SECONDS = 60.0
"""How long the addresses of a name are remembered."""
NEXT_ADDRESS_SECONDS = 0.25
"""Head start of a name's first address before the next is tried beside it (RFC 8305, section 5)."""

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""What getaddrinfo gives for one address."""
Resolve = Callable[[str, int], Awaitable[list[AddressInfo]]]


async def resolve_name(host: str, port: int) -> list[AddressInfo]:
    """Return the addresses of a name, as the system gives them. Raise OSError."""
    loop = asyncio.get_running_loop()
    return list(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP))


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class HttpSession:
    """Sends requests. One per event loop; any number of requests at a time, on as many connections."""

    def __init__(self, *, resolve: Resolve = resolve_name) -> None:
        self._loop = asyncio.get_running_loop()
        self._resolve = resolve
        self._connections: set[Connection] = set()
        self._idle: dict[Origin, deque[tuple[Connection, float]]] = {}
        self._is_closed = False
        self._sweep: asyncio.TimerHandle | None = None
        self._names: dict[Origin, tuple[float, list[AddressInfo]]] = {}
        self._asking: dict[Origin, asyncio.Task[list[AddressInfo]]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        connect_seconds: float,
        read_seconds: float,
    ) -> Response:
        """Send a request and return its answer, the body still to be read.

        `connect_seconds` bounds name, TCP and TLS together, `read_seconds` each silence of the server. Raise HttpError.
        """
        address = read_address(url)
        head = write_head(method, address, headers, None if body is None else len(body))
        connection = self._take(address.origin) or await self._connect(address.origin, connect_seconds)
        response = connection.ask(head, body or b"", read_seconds=read_seconds)
        try:
            await response.begun()
        except BaseException:
            response.close()
            raise
        return response

    async def close(self) -> None:
        """Close all connections; what still runs on them fails, and what is being dialled."""
        self._is_closed = True
        for task in self._asking.values():
            task.cancel()
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in tuple(self._connections):
            connection.abort()
        # The transports tell their protocols in the next turn of the loop.
        await asyncio.sleep(0)

    def _take(self, origin: Origin) -> Connection | None:
        # The one that served last: the others may come to rest.
        idle = self._idle.get(origin)
        while idle:
            connection, since = idle.pop()
            if not connection.is_usable:
                continue
            if self._loop.time() - since < KEEPALIVE_SECONDS:
                return connection
            connection.abort()
        return None

    def _keep(self, origin: Origin, connection: Connection) -> None:
        self._idle.setdefault(origin, deque()).append((connection, self._loop.time()))
        if self._sweep is None:
            self._sweep = self._loop.call_later(KEEPALIVE_SECONDS, self._sweep_idle)

    def _sweep_idle(self) -> None:
        oldest = self._loop.time() - KEEPALIVE_SECONDS
        for origin, idle in tuple(self._idle.items()):
            while idle and (idle[0][1] <= oldest or not idle[0][0].is_usable):
                idle.popleft()[0].abort()
            if not idle:
                del self._idle[origin]
        self._sweep = self._loop.call_later(KEEPALIVE_SECONDS, self._sweep_idle) if self._idle else None

    async def _connect(self, origin: Origin, seconds: float) -> Connection:
        try:
            async with asyncio.timeout(seconds):
                return await self._dial(origin)
        except TimeoutError:
            raise ConnectTimedOut(f"No connection stood within {seconds:g} s.") from None
        except (OSError, ValueError, RuntimeError) as error:  # UnicodeError is a ValueError
            raise ConnectFailed(f"No connection: {error}") from error

    async def _dial(self, origin: Origin) -> Connection:
        found = await self._addresses(origin)
        sock = await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1, loop=self._loop
        )
        made: list[Connection] = []

        def make() -> Connection:
            made.append(
                Connection(on_free=lambda connection: self._keep(origin, connection), on_lost=self._connections.discard)
            )
            return made[0]

        try:
            _, connection = await self._loop.create_connection(
                make,
                sock=sock,
                ssl=_tls() if origin.is_tls else None,
                server_hostname=origin.host if origin.is_tls else None,
            )
        except BaseException:
            # The socket is the transport's by now: to close it under asyncio's would leave its number registered.
            if made:
                made[0].abort()
            else:
                sock.close()
            raise
        if self._is_closed:
            connection.abort()
            raise OSError("the session was closed")
        self._connections.add(connection)
        return connection

    async def _addresses(self, origin: Origin) -> list[AddressInfo]:
        if origin.is_literal:
            family = socket.AF_INET6 if ip_address(origin.host).version == 6 else socket.AF_INET
            return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (origin.host, origin.port))]
        known = self._names.get(origin)
        if known is not None and self._loop.time() < known[0]:
            return known[1]
        # Calls that come together ask once.
        task = self._asking.get(origin)
        if task is None:
            task = self._asking[origin] = self._loop.create_task(self._ask_for(origin))
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # by close(), and not whoever waits
                raise OSError("the session was closed") from None
            raise

    async def _ask_for(self, origin: Origin) -> list[AddressInfo]:
        try:
            found = await self._resolve(origin.host, origin.port)
            if not found:
                raise OSError("the name has no address")
            self._names[origin] = (self._loop.time() + NAME_SECONDS, found)
            return found
        finally:
            del self._asking[origin]
