"""HTTP to providers: one session for addresses from the operator's environment, guarded ones for those that staff typed in."""

from __future__ import annotations

from typing import Self

from apps.core.http import HttpSession, resolve_name
from apps.core.http.session import AddressInfo, Resolve
from apps.core.outbound.guard import operator_networks
from apps.core.outbound.networks import is_allowed, is_reachable, parse_address


class GuardedResolver:
    """Resolves names only to addresses that outbound calls may reach (PORTICO_OUTBOUND_ALLOW opens private ones).

    Connections are made to exactly the addresses that were checked. Hosts that are addresses themselves never get here:
    they are checked where the catalogue is read. `is_plain`: for calls without TLS, which go to opened networks only.
    """

    def __init__(self, resolve: Resolve = resolve_name, *, is_plain: bool = False) -> None:
        self._resolve = resolve
        self._may_reach = is_allowed if is_plain else is_reachable

    async def __call__(self, host: str, port: int) -> list[AddressInfo]:
        """Return the addresses of a name. Raise OSError when one of them is out of bounds."""
        found = await self._resolve(host, port)
        allowed = operator_networks()
        if not all(self._may_reach(parse_address(where[0]), allowed) for *_, where in found):
            raise OSError(f"{host} leads to an address that outbound calls may not reach")
        return found


class Sessions:
    """The HTTP sessions of one event loop."""

    def __init__(self) -> None:
        self.open = HttpSession()
        self.guarded = HttpSession(resolve=GuardedResolver())
        self.plain = HttpSession(resolve=GuardedResolver(is_plain=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def choose(self, base_url: str, *, is_operators: bool) -> HttpSession:
        """Return the session for a provider's address; `is_operators`: it comes from the environment."""
        if is_operators:
            return self.open
        return self.plain if base_url[:5].lower() == "http:" else self.guarded

    async def close(self) -> None:
        """Close all connections."""
        for session in (self.open, self.guarded, self.plain):
            await session.close()
