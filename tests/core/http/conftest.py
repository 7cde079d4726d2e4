"""A server that says exactly what a test wants it to say."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest_asyncio

from apps.core.http import HttpSession, Response
from apps.core.http.session import AddressInfo

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Server:
    """What a server was asked, and on how many connections."""

    port: int
    scheme: str = "http"
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/v1/x?y=1"


@asynccontextmanager
async def serving(*answers: bytes | Speak, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Run a server that gives one answer a request, the last one from then on; an empty one closes the connection."""
    left = list(answers or (PLAIN,))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (line.split()[1] for line in head.split(b"\r\n") if line.startswith(b"Content-Length")), b"0"
                )
                found.requests.append(head + await reader.readexactly(int(length)))
                answer = left.pop(0) if len(left) > 1 else left[0]
                if callable(answer):
                    await answer(reader, writer)
                else:
                    writer.write(answer)
                    await writer.drain()
                if not answer or (not callable(answer) and b"connection: close" in answer.lower()):
                    return
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    found = Server(server.sockets[0].getsockname()[1], "https" if tls else "http")
    async with server:
        yield found


@pytest_asyncio.fixture
async def session() -> AsyncIterator[HttpSession]:
    async with HttpSession() as found:
        yield found


async def ask(session: HttpSession, url: str, *, body: bytes | None = b"{}", **options: float) -> Response:
    """Send a small request."""
    return await session.request(
        "GET" if body is None else "POST",
        url,
        headers={"X-Team": "blue"},
        body=body,
        **{"connect_seconds": 5, "read_seconds": 5, **options},
    )


async def read_all(response: Response) -> bytes:
    """Return the rest of a body."""
    parts = []
    while part := await response.read():
        parts.append(part)
    return b"".join(parts)


async def answer_and_leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer once and hang up."""
    writer.write(PLAIN)
    writer.close()


def at(port: int, *hosts: str) -> list[AddressInfo]:
    """Return addresses as a resolver gives them."""
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)) for host in hosts]
