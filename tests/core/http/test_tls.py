"""TLS: strangers are refused, goodbyes are understood, and leaving in the middle harms nobody."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.core.http import ConnectFailed, HttpSession
from apps.core.http import session as session_module
from apps.core.http.session import AddressInfo
from tests.core.http.conftest import answer_and_leave, ask, at, read_all, serving
from tests.support.waiting import until


@pytest.fixture
def pair(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server at 127.0.0.1 and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "pair.pem").write_bytes(pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "pair.pem")
    client = ssl.create_default_context(cafile=str(tmp_path / "pair.pem"))
    return server, client


async def test_a_certificate_that_is_trusted(
    session: HttpSession, pair: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_tls", lambda: pair[1])
    async with serving(tls=pair[0]) as server:
        for _ in range(2):
            assert await read_all(await ask(session, server.url)) == b"ok"
        assert server.connections == 1
        await session.close()


async def test_leaving_while_dialling_harms_nobody_else(
    session: HttpSession, pair: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_tls", lambda: pair[1])
    async with serving(tls=pair[0]) as server:
        for turns in range(24):
            leaving = asyncio.create_task(ask(session, server.url))
            for _ in range(turns):
                await asyncio.sleep(0)
            leaving.cancel()
            found = await asyncio.gather(*(ask(session, server.url) for _ in range(2)))
            assert [await read_all(answer) for answer in found] == [b"ok"] * 2
            await asyncio.gather(leaving, return_exceptions=True)
            for connection in tuple(session._connections):
                connection.abort()
        await until(lambda: not session._connections)


async def test_a_server_that_says_goodbye_is_not_asked_again(
    session: HttpSession, pair: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_tls", lambda: pair[1])
    async with serving(answer_and_leave, tls=pair[0]) as server:
        for _ in range(5):
            assert await read_all(await ask(session, server.url)) == b"ok"
            await until(lambda: not any(connection.is_usable for connection in session._connections))


async def test_a_certificate_of_a_stranger(session: HttpSession, pair: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with serving(tls=pair[0]) as server:
        with pytest.raises(ConnectFailed, match="certificate verify failed"):
            await ask(session, server.url)


async def test_a_certificate_for_another_name(
    pair: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int) -> list[AddressInfo]:
        return at(port, "127.0.0.1")

    monkeypatch.setattr(session_module, "_tls", lambda: pair[1])
    async with HttpSession(resolve=resolve) as session, serving(tls=pair[0]) as server:
        with pytest.raises(ConnectFailed, match="Hostname mismatch"):
            await ask(session, f"https://other.example.com:{server.port}/")
