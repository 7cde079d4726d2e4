"""HTTP to providers: one session for addresses from the operator's environment, guarded ones for those that staff typed in."""

from __future__ import annotations

import socket
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from apps.core.outbound.guard import operator_networks
from apps.core.outbound.networks import is_allowed, is_reachable, parse_address

KEEPALIVE_SECONDS = 30.0
DNS_SECONDS = 60


class GuardedResolver(AbstractResolver):
    """Resolves names only to addresses that outbound calls may reach (PORTICO_OUTBOUND_ALLOW opens private ones).

    Connections are made to exactly the addresses that were checked. Hosts that are addresses themselves never get here:
    they are checked where the catalogue is read. `is_plain`: for calls without TLS, which go to opened networks only.
    """

    def __init__(self, resolver: AbstractResolver | None = None, *, is_plain: bool = False) -> None:
        self._resolver = resolver or aiohttp.ThreadedResolver()
        self._may_reach = is_allowed if is_plain else is_reachable

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raise OSError when one of them is out of bounds."""
        found = await self._resolver.resolve(host, port, family)
        allowed = operator_networks()
        if not all(self._may_reach(parse_address(entry["host"]), allowed) for entry in found):
            raise OSError(f"{host} leads to an address that outbound calls may not reach")
        return found

    async def close(self) -> None:
        """Let go of the resolver behind."""
        await self._resolver.close()


class Sessions:
    """The HTTP sessions of one event loop."""

    def __init__(self) -> None:
        self.open = _open_session(None)
        self.guarded = _open_session(GuardedResolver())
        self.plain = _open_session(GuardedResolver(is_plain=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def choose(self, base_url: str, *, is_operators: bool) -> aiohttp.ClientSession:
        """Return the session for a provider's address; `is_operators`: it comes from the environment."""
        if is_operators:
            return self.open
        return self.plain if base_url[:5].lower() == "http:" else self.guarded

    async def close(self) -> None:
        """Close all connections."""
        for session in (self.open, self.guarded, self.plain):
            await session.close()


def _open_session(resolver: AbstractResolver | None) -> aiohttp.ClientSession:
    # No limits: how many calls run at once is decided before they get here. Cookies of providers are nobody's.
    connector = aiohttp.TCPConnector(
        limit=0, limit_per_host=0, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=DNS_SECONDS, resolver=resolver
    )
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
