"""URLs and heads: nothing is smuggled in, nothing is guessed."""

from __future__ import annotations

import pytest

from apps.core.http import AddressInvalid, HeaderInvalid
from apps.core.http.address import Origin, read_address, write_head


@pytest.mark.parametrize(
    ("url", "origin", "target", "host"),
    [
        ("https://api.example.com/v1/chat", Origin(True, "api.example.com", 443, False), "/v1/chat", "api.example.com"),
        ("http://API.example.com:8080", Origin(False, "api.example.com", 8080, False), "/", "api.example.com:8080"),
        ("http://[::1]:11434/api?a=b c", Origin(False, "::1", 11434, True), "/api?a=b%20c", "[::1]:11434"),
        ("https://127.0.0.1/", Origin(True, "127.0.0.1", 443, True), "/", "127.0.0.1"),
        ("https://münchen.example/", Origin(True, "xn--mnchen-3ya.example", 443, False), "/", "xn--mnchen-3ya.example"),
    ],
)
def test_a_url_is_read(url: str, origin: Origin, target: str, host: str) -> None:
    found = read_address(url)
    assert (found.origin, found.target, found.headers) == (origin, target, f"Host: {host}\r\n")


def test_credentials_of_a_url_are_sent_as_such() -> None:
    assert read_address("http://me:p%40ss@example.com/").headers.endswith("Authorization: Basic bWU6cEBzcw==\r\n")


@pytest.mark.parametrize(
    "url", ["ftp://example.com", "http://", "nonsense", "http://127.0.0.1:99999/", "http://a:0/", "http://[::1", "https://ex ample.com/"]
)  # fmt: skip
def test_what_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(AddressInvalid):
        read_address(url)


def test_a_head_is_written() -> None:
    head = write_head("POST", read_address("http://example.com/x"), {"X-Name": "Zoë"}, 12)
    assert (
        head
        == (
            "POST /x HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\nUser-Agent: Portico\r\nContent-Length: 12\r\nX-Name: Zoë\r\n\r\n"
        ).encode()
    )
    assert b"Content-Length" not in write_head("GET", read_address("http://example.com/x"), {}, None)


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\rb", "a\0b", "\ud800"])
def test_a_header_that_would_end_early_is_refused(value: str) -> None:
    with pytest.raises(HeaderInvalid):
        write_head("GET", read_address("http://example.com/"), {"X-Name": value}, None)
