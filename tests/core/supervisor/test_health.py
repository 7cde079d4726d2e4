"""The probe asks once and waits; it reads whatever comes back."""

import socket

import pytest

from apps.core.supervisor.health import HealthProbe
from tests.support.waiting import wait_until


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        yield server


@pytest.fixture
def probe(server):
    probe = HealthProbe("0.0.0.0", server.getsockname()[1])
    probe.begin()
    yield probe
    probe.close()


def answer(server, text):
    connection, _ = server.accept()
    with connection:
        assert connection.recv(4096).startswith(b"GET /health HTTP/1.1\r\n")
        connection.sendall(text)


def test_nothing_is_known_before_an_answer(probe):
    probe.begin()
    probe.read()
    assert not probe.is_done
    assert probe.fileno() is not None


@pytest.mark.parametrize(
    ("text", "status"),
    [(b"HTTP/1.1 200 OK\r\n\r\n", 200), (b"HTTP/1.1 503 No\r\n\r\n", 503), (b"\r\n", 0), (b"what?\r\n", 0), (b"", 0)],
)
def test_the_status_is_read(server, probe, text, status):
    answer(server, text)
    wait_until(lambda: probe.read() or probe.fileno() is None)
    assert probe.status == status
    assert probe.is_done == (status == 200)


def test_a_status_that_comes_in_pieces_is_waited_for(server, probe):
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 2")
        wait_until(lambda: probe.read() or probe._received)
        assert probe.fileno() is not None
        connection.sendall(b"00 OK\r\n")
        wait_until(lambda: probe.read() or probe.is_done)


def test_a_reset_connection_is_begun_anew(server, probe):
    connection, _ = server.accept()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()
    wait_until(lambda: probe.read() or probe.fileno() is None)
    probe.begin()
    assert probe.fileno() is not None


def test_nobody_listening_is_no_error(server):
    port = server.getsockname()[1]
    server.close()
    probe = HealthProbe("127.0.0.1", port)
    probe.begin()
    probe.read()
    assert probe.fileno() is None
    assert not probe.is_done
