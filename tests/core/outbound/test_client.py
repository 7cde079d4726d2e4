"""One call out: pinned, bounded, without redirects, with a breaker, measured."""

from __future__ import annotations

import socket
import struct
import threading
import time

import pytest

from apps.core.actor import system_actor
from apps.core.context import bound
from apps.core.outbound import breaker
from apps.core.outbound.breaker import Circuit
from apps.core.outbound.client import OutboundClient
from apps.core.outbound.errors import CircuitOpen, FailureKind, OutboundFailed, OutboundRefused
from apps.core.outbound.recording import CALLS, recent_calls
from tests.support.sink import Reply, Sink


@pytest.fixture(autouse=True)
def _loopback_allowed(settings):
    settings.OUTBOUND_ALLOW = ["127.0.0.1/32"]


@pytest.fixture
def sink():
    with Sink() as sink:
        yield sink


CLIENT = OutboundClient(purpose="tests", connect_seconds=1, read_seconds=1, total_seconds=1)


def raw_server(script):
    """Read the request of one connection, then run `script(connection)`; return the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection, listener:
            connection.recv(65536)
            script(connection)

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def test_an_answer_comes_back_whole_and_the_request_id_goes_out(sink: Sink) -> None:
    sink.respond = lambda request: Reply(201, {"X-Thing": "yes"}, b"hello\x00\xff")
    with bound(actor=system_actor(request_id="req_outbound_1")):
        response = CLIENT.send(
            "POST", sink.url, headers={"X-Mine": "1", "Host": "evil", "User-Agent": "evil"}, body=b"in"
        )
    assert (response.status, response.body, response.is_truncated) == (201, b"hello\x00\xff", False)
    assert response.text == "hello�"
    assert response.headers["x-thing"] == "yes"
    request = sink.received[0]
    assert (request.method, request.path, request.body) == ("POST", "/hook", b"in")
    assert request.headers["x-request-id"] == "req_outbound_1"
    assert request.headers["host"] == f"127.0.0.1:{sink.port}"
    assert request.headers["user-agent"] == "Portico/3.0"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["x-mine"] == "1"


def test_the_checked_address_is_called_and_the_name_kept(sink: Sink) -> None:
    client = OutboundClient(purpose="tests", resolver=lambda host, port: ["127.0.0.1"])
    assert client.send("GET", f"http://hooks.example.com:{sink.port}/x").status == 204
    assert sink.received[0].headers["host"] == f"hooks.example.com:{sink.port}"


def test_a_name_that_changes_its_answer_after_the_check_is_not_followed(sink: Sink, monkeypatch) -> None:
    asked = []

    def resolver(host, port):
        asked.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr(socket, "gethostbyname", lambda *args: pytest.fail("resolved a second time"))
    OutboundClient(purpose="tests", resolver=resolver).send("GET", f"http://rebind.example.com:{sink.port}/")
    assert asked == ["rebind.example.com"]


def test_the_next_address_is_tried_when_one_refuses(sink: Sink, settings) -> None:
    settings.OUTBOUND_ALLOW = ["127.0.0.0/8", "::1"]
    client = OutboundClient(purpose="tests", resolver=lambda host, port: ["::1", "127.0.0.1"])
    assert client.send("GET", f"http://two.example.com:{sink.port}/").status == 204


def test_a_refused_url_sends_nothing(sink: Sink, settings) -> None:
    settings.OUTBOUND_ALLOW = []
    with pytest.raises(OutboundRefused):
        CLIENT.send("POST", sink.url)
    assert sink.received == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_answers(sink: Sink, status: int) -> None:
    sink.respond = lambda request: Reply(status, {"Location": f"http://127.0.0.1:{sink.port}/other"})
    assert CLIENT.send("POST", sink.url).status == status
    assert [request.path for request in sink.received] == ["/hook"]


def test_a_body_is_cut_at_the_cap(sink: Sink) -> None:
    sink.respond = lambda request: Reply(200, {}, b"x" * 5000)
    response = OutboundClient(purpose="tests", max_bytes=1000).send("GET", sink.url)
    assert (len(response.body), response.is_truncated) == (1000, True)


def test_a_compressed_body_is_not_unpacked(sink: Sink) -> None:
    sink.respond = lambda request: Reply(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b-not-really")
    assert CLIENT.send("GET", sink.url).body == b"\x1f\x8b-not-really"


def test_a_server_that_says_nothing_runs_into_the_time_cap() -> None:
    port = raw_server(lambda connection: time.sleep(3))
    client = OutboundClient(purpose="tests", read_seconds=0.2, total_seconds=5)
    with pytest.raises(OutboundFailed) as caught:
        client.send("GET", f"http://127.0.0.1:{port}/")
    assert caught.value.kind == FailureKind.TIMEOUT


def test_a_server_that_drips_runs_into_the_cap_of_the_whole_call() -> None:
    def drip(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            for _ in range(200):
                connection.sendall(b"x")
                time.sleep(0.02)
        except OSError:
            pass

    client = OutboundClient(purpose="tests", read_seconds=1, total_seconds=0.3)
    started = time.monotonic()
    with pytest.raises(OutboundFailed) as caught:
        client.send("GET", f"http://127.0.0.1:{raw_server(drip)}/")
    assert caught.value.kind == FailureKind.TIMEOUT
    assert time.monotonic() - started < 2


def test_a_call_without_time_is_not_begun(sink: Sink) -> None:
    with pytest.raises(OutboundFailed) as caught:
        OutboundClient(purpose="tests", total_seconds=0).send("GET", sink.url)
    assert caught.value.kind == FailureKind.TIMEOUT
    assert sink.received == []


def reset(connection: socket.socket) -> None:
    """Close without a farewell: the other side reads an error instead of an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (lambda connection: None, FailureKind.CUT),
        (reset, FailureKind.CUT),
        (lambda connection: connection.sendall(b"SSH-2.0-x\r\n\r\n"), FailureKind.PROTOCOL),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), FailureKind.PROTOCOL),
    ],
)
def test_servers_that_break_off_or_talk_nonsense_are_told_apart(script, kind: FailureKind) -> None:
    with pytest.raises(OutboundFailed) as caught:
        CLIENT.send("GET", f"http://127.0.0.1:{raw_server(script)}/")
    assert caught.value.kind == kind


def test_nobody_listening_is_a_failed_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(OutboundFailed, match="cannot be reached") as caught:
        CLIENT.send("GET", f"http://127.0.0.1:{port}/")
    assert caught.value.kind == FailureKind.CONNECT


def test_a_server_without_tls_is_not_talked_to(sink: Sink) -> None:
    with pytest.raises(OutboundFailed) as caught:
        CLIENT.send("GET", f"https://127.0.0.1:{sink.port}/")
    assert caught.value.kind == FailureKind.TLS
    assert sink.received == []


@pytest.mark.parametrize("value", ["1\r\nX-B: 2", "1\x00", "\u2028"])
def test_a_header_that_would_smuggle_is_refused(sink: Sink, value: str) -> None:
    with pytest.raises(OutboundRefused, match="forbids"):
        CLIENT.send("GET", sink.url, headers={"X-A": value})
    assert sink.received == []


def test_calls_are_counted_and_the_latest_remembered(sink: Sink) -> None:
    before = CALLS.labels("counting", "2xx")._value.get()
    client = OutboundClient(purpose="counting")
    client.send("POST", sink.url)
    with pytest.raises(OutboundRefused):
        client.send("GET", "https://10.0.0.1/")
    assert CALLS.labels("counting", "2xx")._value.get() == before + 1
    refused, answered = recent_calls()
    assert (refused.outcome, refused.status, refused.host) == ("refused", None, "")
    assert (answered.outcome, answered.status, answered.host, answered.method) == ("2xx", 204, "127.0.0.1", "POST")


def test_an_open_circuit_sends_nothing_until_one_probe_succeeds(sink: Sink, time_machine_at) -> None:
    circuit = Circuit("tests:sink", threshold=2, open_seconds=30)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    for _ in range(2):
        with pytest.raises(OutboundFailed):
            CLIENT.send("GET", dead, circuit=circuit)
    with pytest.raises(CircuitOpen) as caught:
        CLIENT.send("GET", sink.url, circuit=circuit)
    assert 29 < caught.value.retry_after_seconds <= 30
    assert sink.received == []
    time_machine_at.shift(31)
    assert CLIENT.send("GET", sink.url, circuit=circuit).status == 204
    assert breaker.find_state("tests:sink").state == "closed"
