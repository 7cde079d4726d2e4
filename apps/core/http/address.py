"""URLs, read once: where to connect to, and the first lines of a request."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

import httpx

from apps.core.http.errors import AddressInvalid, HeaderInvalid

PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"^[0-9A-Za-z._:-]+$")


@dataclass(frozen=True, slots=True)
class Origin:
    """A server: its connections serve every path on it."""

    is_tls: bool
    host: str
    port: int
    is_literal: bool
    """The host is an address and not a name."""


@dataclass(frozen=True, slots=True)
class Address:
    """A URL: the server, the path with its query, and the headers that stem from the URL itself."""

    origin: Origin
    target: str
    headers: str


@lru_cache(maxsize=1024)
def read_address(url: str) -> Address:
    """Return a URL's parts, read as httpx reads them. Raise AddressInvalid."""
    try:
        read = httpx.URL(url)
        host = read.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise AddressInvalid(f"The URL cannot be read: {error}") from None
    if read.scheme not in PORTS or not _HOST.match(host):
        raise AddressInvalid("The URL must be of the form http(s)://host/path.")
    port = read.port if read.port is not None else PORTS[read.scheme]
    if not 0 < port < 65536:
        raise AddressInvalid(f"The URL's port {port} does not exist.")
    headers = f"Host: {read.netloc.decode('ascii')}\r\n"
    if read.userinfo:
        headers += f"Authorization: Basic {base64.b64encode(f'{read.username}:{read.password}'.encode()).decode()}\r\n"
    origin = Origin(read.scheme == "https", host, port, _is_literal(host))
    return Address(origin, read.raw_path.decode("ascii"), headers)


def write_head(method: str, address: Address, headers: Mapping[str, str], length: int | None) -> bytes:
    """Return everything of a request up to its body of `length` bytes. Raise HeaderInvalid."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    # One look at all of them: a line break too many is one that somebody smuggled in.
    if lines.count("\r") != len(headers) or lines.count("\n") != len(headers) or "\0" in lines:
        raise HeaderInvalid("A header cannot hold line breaks or NUL.")
    size = f"Content-Length: {length}\r\n" if length is not None else ""
    head = f"{method} {address.target} HTTP/1.1\r\n{address.headers}Accept: */*\r\nUser-Agent: Portico\r\n{size}{lines}\r\n"
    try:
        return head.encode()
    except UnicodeEncodeError as error:
        raise HeaderInvalid(f"A header cannot be encoded: {error.reason}.") from None


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
