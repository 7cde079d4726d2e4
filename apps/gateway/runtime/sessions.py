"""HTTP to providers: one session for addresses from the operator's environment, a guarded one for those that staff typed in."""

from __future__ import annotations

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from apps.core.outbound.guard import operator_networks
from apps.core.outbound.networks import is_reachable, parse_address

KEEPALIVE_SECONDS = 30.0
DNS_SECONDS = 60


class GuardedResolver(AbstractResolver):
    """Resolves names only to addresses that outbound calls may reach (PORTICO_OUTBOUND_ALLOW opens private ones).

    Connections are made to exactly the addresses that were checked. Hosts that are addresses themselves never get here:
    they are checked where the catalogue is read.
    """

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raise OSError when one of them is out of bounds."""
        found = await self._resolver.resolve(host, port, family)
        allowed = operator_networks()
        if not all(is_reachable(parse_address(entry["host"]), allowed) for entry in found):
            raise OSError(f"{host} leads to an address that outbound calls may not reach")
        return found

    async def close(self) -> None:
        """Let go of the resolver behind."""
        await self._resolver.close()


class Sessions:
    """The HTTP sessions of one event loop."""

    def __init__(self) -> None:
        self.open = open_session(is_guarded=False)
        self.guarded = open_session(is_guarded=True)

    async def close(self) -> None:
        """Close all connections."""
        await self.open.close()
        await self.guarded.close()


def open_session(*, is_guarded: bool) -> aiohttp.ClientSession:
    """Return a session for provider calls."""
    # No limits: how many calls run at once is decided before they get here. Cookies of providers are nobody's.
    resolver = GuardedResolver() if is_guarded else None
    connector = aiohttp.TCPConnector(
        limit=0, limit_per_host=0, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=DNS_SECONDS, resolver=resolver
    )
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
