"""Where a request comes from."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

Network = IPv4Network | IPv6Network


@lru_cache(maxsize=4)
def _networks(cidrs: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(cidr, strict=False) for cidr in cidrs)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip())
    except ValueError:
        return None


def client_ip(request: HttpRequest) -> str:
    """Return the caller's address, "" where there is none.

    X-Forwarded-For is read from the right and only as far as PORTICO_TRUSTED_PROXIES go: what a caller writes there
    itself is never believed.
    """
    hops = [request.META.get("REMOTE_ADDR", ""), *reversed(request.headers.get("X-Forwarded-For", "").split(","))]
    found = ""
    for hop in hops:
        address = _parse(hop)
        if address is None:
            break
        found = str(address)
        if not _is_trusted(address):
            break
    return found


def comes_from_proxy(request: HttpRequest) -> bool:
    """Tell whether the connection was made by one of PORTICO_TRUSTED_PROXIES."""
    address = _parse(request.META.get("REMOTE_ADDR", ""))
    return address is not None and _is_trusted(address)


def _is_trusted(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _networks(tuple(settings.TRUSTED_PROXIES)))


def device_of(request: HttpRequest) -> str:
    """Return what the caller says it is (User-Agent), cut to what is kept."""
    return request.headers.get("User-Agent", "")[:300]
