"""The guard: from a URL that somebody typed in to addresses that may be connected to.

It is the only parser that counts. What it cannot read in exactly one way is refused, names are resolved once, every
address is checked, and the transport connects to these addresses and to nothing else: a second answer of the name
server comes too late.
"""

from __future__ import annotations

import queue
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import httpx
from django.conf import settings

from apps.core.outbound.errors import FailureKind, OutboundFailed, OutboundRefused
from apps.core.outbound.networks import Address, Network, is_allowed, is_reachable, parse_address, parse_networks

MAX_URL_LENGTH = 2048
RESOLVE_SECONDS = 5.0
LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

# A resolver takes a host name and a port and returns addresses; it raises OSError where there are none.
Resolver = Callable[[str, int], Sequence[str]]

_FORM = re.compile(r"^(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<rest>[/?#].*)?$", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"^(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@%]+))(?::(?P<port>[0-9]{1,5}))?$")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ufeff]")
_LABEL = re.compile(r"^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$")
_NUMERIC = re.compile(r"^(?:[0-9]+|0x[0-9a-f]*)$")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL read in the one way it can be read. `address` is set where the host is an address and not a name."""

    url: str
    scheme: str
    host: str
    port: int
    address: Address | None


@dataclass(frozen=True, slots=True)
class Destination:
    """A target and the checked addresses, in the resolver's order, that alone may be connected to."""

    target: Target
    addresses: tuple[Address, ...]


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return parse_networks(texts)


def operator_networks() -> tuple[Network, ...]:
    """Return the networks that PORTICO_OUTBOUND_ALLOW opens."""
    return _networks(tuple(settings.OUTBOUND_ALLOW))


def inspect_url(url: str) -> Target:
    """Read a URL without asking a name server, for forms. Raise OutboundRefused for what could never be called.

    Whether a name leads to a permitted address is only known, and checked, when it is called; only names that never
    lead to a public one are refused here.
    """
    target = _parse(url)
    allowed = operator_networks()
    if target.address is not None:
        _require_reachable(target, (target.address,), allowed)
        return target
    _require_public_name(target, allowed)
    if target.scheme == "http" and not allowed:
        raise OutboundRefused("The URL must begin with https://.")
    return target


def resolve_target(url: str, *, resolver: Resolver | None = None) -> Destination:
    """Return where a call to the URL may connect to.

    Raise OutboundRefused when any of the addresses is not permitted, OutboundFailed when the name leads nowhere.
    """
    target = _parse(url)
    allowed = operator_networks()
    if target.address is not None:
        addresses: tuple[Address, ...] = (target.address,)
    else:
        addresses = _resolve(target, resolver or system_resolver)
    _require_reachable(target, addresses, allowed)
    return Destination(target, addresses)


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver, for 5 seconds at the most. Raise OSError when it has no answer by then."""
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
        except OSError as error:
            answers.put(error)

    # getaddrinfo knows no time limit, so it is left behind in a thread that keeps nobody from ending.
    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=RESOLVE_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {RESOLVE_SECONDS:g} s") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _parse(url: str) -> Target:
    if len(url) > MAX_URL_LENGTH:
        raise OutboundRefused(f"The URL is longer than {MAX_URL_LENGTH} characters.")
    if _FORBIDDEN.search(url):
        raise OutboundRefused("The URL contains white space, a control character or a backslash.")
    form = _FORM.match(url)
    if form is None:
        raise OutboundRefused("The URL must be of the form https://host/path.")
    authority = form["authority"]
    if "@" in authority:
        raise OutboundRefused("The URL must not contain a user name or password.")
    parts = _AUTHORITY.match(authority)
    if parts is None:
        raise OutboundRefused("The URL's host or port cannot be read.")
    scheme = form["scheme"].lower()
    port = int(parts["port"]) if parts["port"] else {"http": 80, "https": 443}[scheme]
    if not 0 < port < 65536:
        raise OutboundRefused(f"The URL's port {port} does not exist.")
    host, address = _read_v6(parts["v6"]) if parts["v6"] else _read_name(parts["name"])
    return Target(_require_same_reading(url, scheme, host, port), scheme, host, port, address)


def _read_v6(text: str) -> tuple[str, Address]:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise OutboundRefused("The URL's host is not an IPv6 address.") from None
    return text.lower(), address


def _read_name(text: str) -> tuple[str, Address | None]:
    try:
        name = httpx.URL(f"https://{text}/").raw_host.decode("ascii").lower()
    except (httpx.InvalidURL, UnicodeError):
        raise OutboundRefused("The URL's host is not a valid host name.") from None
    try:
        return name, IPv4Address(name)
    except AddressValueError:
        pass
    labels = name.removesuffix(".").split(".")
    if len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        raise OutboundRefused("The URL's host is not a valid host name.")
    if _NUMERIC.match(labels[-1]):
        # 127.1, 2130706433, 0x7f.0.0.1 and 0177.0.0.1 are addresses to some readers and names to others.
        raise OutboundRefused("The URL's host is a number; write an IPv4 address as four decimal parts.")
    return name, None


def _require_same_reading(url: str, scheme: str, host: str, port: int) -> str:
    """Return the URL as it goes out; refuse it when the library that sends it reads another host or port from it."""
    read = httpx.URL(url).copy_with(fragment=None)
    default_port = {"http": 80, "https": 443}[scheme]
    found = (read.scheme, read.raw_host.decode("ascii", "replace").lower().strip("[]"), read.port or default_port)
    if found != (scheme, host, port) or read.userinfo:
        raise OutboundRefused("The URL can be read in two ways.")
    return str(read)


def _resolve(target: Target, resolver: Resolver) -> tuple[Address, ...]:
    try:
        addresses = tuple(parse_address(text) for text in resolver(target.host, target.port))
    except (OSError, UnicodeError, ValueError) as error:
        raise OutboundFailed(
            f"The host name {target.host} cannot be resolved: {error}.", kind=FailureKind.RESOLVE
        ) from error
    if not addresses:
        raise OutboundFailed(f"The host name {target.host} has no address.", kind=FailureKind.RESOLVE)
    return addresses


def _require_public_name(target: Target, allowed: tuple[Network, ...]) -> None:
    """Refuse names that stand for this machine (RFC 6761) or its neighbours (RFC 6762) unless they are the operator's."""
    last = target.host.removesuffix(".").rpartition(".")[2]
    may_be_called = {
        "localhost": any(is_allowed(address, allowed) for address in LOOPBACK),
        "local": bool(allowed),
    }
    if not may_be_called.get(last, True):
        raise OutboundRefused(
            f"The host {target.host} is not a public one. "
            "The operator can open a private network with PORTICO_OUTBOUND_ALLOW."
        )


def _require_reachable(target: Target, addresses: tuple[Address, ...], allowed: tuple[Network, ...]) -> None:
    for address in addresses:
        if not is_reachable(address, allowed):
            raise OutboundRefused(
                f"The host {target.host} leads to {address}, which is not a public address. "
                "The operator can open a private network with PORTICO_OUTBOUND_ALLOW."
            )
    if target.scheme == "http" and not all(is_allowed(address, allowed) for address in addresses):
        raise OutboundRefused("The URL must begin with https://.")
