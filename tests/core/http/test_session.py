"""Connections: used again, given up, resolved once, checked, and closed when nobody needs them."""

from __future__ import annotations

import asyncio
import socket

import pytest

from apps.core.http import AddressInvalid, ConnectFailed, ConnectionCut, ConnectTimedOut, HeaderInvalid, HttpSession
from apps.core.http import session as session_module
from apps.core.http.connection import Connection
from apps.core.http.session import AddressInfo, resolve_name
from tests.core.http.conftest import PLAIN, answer_and_leave, ask, at, read_all, serving
from tests.support.waiting import until

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_connections_are_used_again(session: HttpSession) -> None:
    async with serving() as server:
        for _ in range(3):
            assert await read_all(await ask(session, server.url)) == b"ok"
        await asyncio.gather(*(ask(session, server.url) for _ in range(3)))
        assert server.connections == 3


async def test_a_server_that_closes_is_dialled_anew(session: HttpSession) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok") as server:
        for _ in range(2):
            assert await read_all(await ask(session, server.url)) == b"ok"
        assert server.connections == 2


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(session: HttpSession) -> None:
    async with serving(answer_and_leave, PLAIN) as server:
        await read_all(await ask(session, server.url))
        await until(lambda: not session._connections)
        assert await read_all(await ask(session, server.url)) == b"ok"


async def test_one_that_is_closed_at_that_moment_says_that_nothing_came(session: HttpSession) -> None:
    async with serving(PLAIN, b"") as server:
        await read_all(await ask(session, server.url))
        with pytest.raises(ConnectionCut):
            await ask(session, server.url)


async def test_connections_rest_only_so_long(session: HttpSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "KEEPALIVE_SECONDS", 0.1)
    async with serving() as server:
        await read_all(await ask(session, server.url))
        await until(lambda: not session._connections)
        assert session._idle == {}
        assert session._sweep is None
        # Also where the sweep has not come by yet.
        await read_all(await ask(session, server.url))
        session._sweep.cancel()
        await asyncio.sleep(0.15)
        await read_all(await ask(session, server.url))
        assert server.connections == 3


async def test_the_sweep_clears_away_what_was_closed(session: HttpSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "KEEPALIVE_SECONDS", 0.1)
    async with serving(answer_and_leave) as server:
        await read_all(await ask(session, server.url))
        await until(lambda: session._idle == {})


async def test_the_sweep_leaves_those_in_use(session: HttpSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "KEEPALIVE_SECONDS", 0.2)
    async with serving() as server:
        await read_all(await ask(session, server.url))
        for _ in range(4):
            await asyncio.sleep(0.07)
            await read_all(await ask(session, server.url))
        assert server.connections == 1


async def test_the_end_of_an_answer_may_still_come(session: HttpSession) -> None:
    goes_on = asyncio.Event()

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"4\r\ndone\r\n")
        await goes_on.wait()
        writer.write(b"5\r\n: end\r\n0\r\n\r\n")

    async with serving(speak, PLAIN) as server:
        found = await ask(session, server.url)
        assert await found.read() == b"done"
        found.let_go(within_seconds=0.3)
        goes_on.set()
        await until(lambda: all(connection.is_usable for connection in session._connections))
        await asyncio.sleep(0.4)  # its time is over, and does not matter any more
        assert await read_all(await ask(session, server.url)) == b"ok"
        assert server.connections == 1


async def test_an_end_that_does_not_come_is_given_up(session: HttpSession) -> None:
    over = asyncio.Event()

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"4\r\ndone\r\n")
        await over.wait()

    async with serving(speak) as server:
        found = await ask(session, server.url)
        await found.read()
        found.let_go(within_seconds=0.05)
        await until(lambda: not session._connections)
        found.let_go(within_seconds=0.05)  # long gone
        over.set()


async def test_closing_an_answer_hangs_up(session: HttpSession) -> None:
    left = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"4\r\nmore\r\n")
        await reader.read()
        left.set()

    async with serving(speak) as server:
        found = await ask(session, server.url)
        found.close()
        await asyncio.wait_for(left.wait(), 5)


async def test_a_cancelled_request_hangs_up(session: HttpSession) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def speak(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        left.set()

    async with serving(speak) as server:
        task = asyncio.create_task(ask(session, server.url))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(left.wait(), 5)


async def test_closing_the_session_fails_what_runs() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        await reader.read()

    session = HttpSession()
    async with serving(speak) as server:
        found = await ask(session, server.url)
        await session.close()
        with pytest.raises(Exception, match="closed before the end"):
            await found.read()


async def test_names_are_resolved_once_for_all_who_ask() -> None:
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> list[AddressInfo]:
        asked.append((host, port))
        await asyncio.sleep(0.01)
        return at(port, "127.0.0.1")

    async with HttpSession(resolve=resolve) as session, serving() as server:
        url = f"http://models.example.com:{server.port}/"
        await asyncio.gather(*(ask(session, url) for _ in range(5)))
        await asyncio.gather(*(ask(session, url) for _ in range(8)))
        assert asked == [("models.example.com", server.port)]
        assert server.requests[0].split(b"\r\n")[1] == b"Host: models.example.com:%d" % server.port
        # After a minute the name may lead elsewhere.
        session._names = {origin: (0.0, found) for origin, (_, found) in session._names.items()}
        await asyncio.gather(*(ask(session, url) for _ in range(20)))
        assert len(asked) == 2


async def test_an_address_that_is_dead_is_passed_over() -> None:
    async def resolve(host: str, port: int) -> list[AddressInfo]:
        return at(1, "127.0.0.1") + at(port, "127.0.0.1")

    async with HttpSession(resolve=resolve) as session, serving() as server:
        assert (await ask(session, f"http://models.example.com:{server.port}/")).status == 200


@pytest.mark.parametrize(
    "found", [[], OSError("no such host"), UnicodeError("label too long"), RuntimeError("no such loop")]
)
async def test_a_name_that_leads_nowhere(found: list[AddressInfo] | Exception) -> None:
    async def resolve(host: str, port: int) -> list[AddressInfo]:
        if isinstance(found, Exception):
            raise found
        return found

    async with HttpSession(resolve=resolve) as session:
        for _ in range(2):
            with pytest.raises(ConnectFailed, match=r"no such|no address|too long"):
                await ask(session, "http://models.example.com/")


async def test_a_resolver_that_hangs_is_not_waited_for() -> None:
    async def resolve(host: str, port: int) -> list[AddressInfo]:
        await asyncio.Event().wait()
        raise AssertionError

    session = HttpSession(resolve=resolve)
    with pytest.raises(ConnectTimedOut, match=r"0\.05 s"):
        await ask(session, "http://models.example.com/", connect_seconds=0.05)
    await session.close()


async def test_closing_while_a_name_is_asked_for_is_told_as_that() -> None:
    asked = asyncio.Event()

    async def resolve(host: str, port: int) -> list[AddressInfo]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    session = HttpSession(resolve=resolve)
    task = asyncio.create_task(ask(session, "http://models.example.com/"))
    await asked.wait()
    await session.close()
    with pytest.raises(ConnectFailed, match="session was closed"):
        await task


async def test_a_request_that_is_cancelled_while_a_name_is_asked_for_is_cancelled() -> None:
    asked = asyncio.Event()

    async def resolve(host: str, port: int) -> list[AddressInfo]:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with HttpSession(resolve=resolve) as session:
        task = asyncio.create_task(ask(session, "http://models.example.com/"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_closed_session_keeps_no_new_connection() -> None:
    session = HttpSession()
    await session.close()
    async with serving() as server:
        with pytest.raises(ConnectFailed, match="session was closed"):
            await ask(session, server.url)
    assert not session._connections


async def test_a_connection_that_nobody_waits_for_any_more_closes_when_it_stands() -> None:
    lost: list[Connection] = []
    connection = Connection(on_free=print, on_lost=lost.append)
    connection.abort()
    async with serving() as server:
        await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", server.port)
        await until(lambda: lost == [connection])


async def test_a_socket_that_never_becomes_a_connection_is_closed(
    session: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[socket.socket] = []

    async def refuse(*_: object, sock: socket.socket, **__: object) -> None:
        given.append(sock)
        raise OSError("no transport today")

    async with serving() as server:
        monkeypatch.setattr(session._loop, "create_connection", refuse)
        with pytest.raises(ConnectFailed, match="no transport today"):
            await ask(session, server.url)
    assert given[0].fileno() == -1


async def test_nobody_listens(session: HttpSession) -> None:
    with pytest.raises(ConnectFailed):
        await ask(session, "http://127.0.0.1:1/")
    with pytest.raises(ConnectFailed):
        await ask(session, "http://[::1]:1/")


async def test_what_cannot_be_sent_opens_no_connection(session: HttpSession) -> None:
    async with serving() as server:
        with pytest.raises(AddressInvalid):
            await ask(session, "gopher://127.0.0.1/")
        with pytest.raises(HeaderInvalid):
            await session.request("GET", server.url, headers={"A": "b\r\nC: d"}, connect_seconds=1, read_seconds=1)
        assert server.connections == 0


async def test_the_system_resolves_names() -> None:
    found = await resolve_name("localhost", 80)
    assert {where[0] for *_, where in found} & {"127.0.0.1", "::1"}
