"""Which addresses outbound calls may reach: an explicit table, because `ipaddress.is_global` has other purposes.

Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries, RFC 6890, RFC 8215, RFC 9637. `is_global` says True for
NAT64 and 6to4 forms of 169.254.169.254, for instance, and knows no cloud metadata addresses in public space.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DENIED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, and a cloud's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's host agent, in public space
        "169.254.0.0/16",  # link-local, metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, and a cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Only 2000::/3 is handed out to hosts on the Internet; within it, what is not.
DENIED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "::/3",  # loopback, mapped, translated, unspecified, discard
        "2001::/23",  # protocol assignments: benchmarks, ORCHID, AS112, drone ids
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # the retired 6bone
        "3fff::/20",  # documentation
        "4000::/2",  # not assigned, segment routing
        "8000::/1",  # not assigned, unique local, link-local, site-local, multicast
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP_MARKS = {0x00005EFE, 0x02005EFE}


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks of the operator's list; raise ValueError that names the entry which is none."""
    return tuple(ip_network(text, strict=False) for text in texts)


def parse_address(text: str) -> Address:
    """Return an address as a resolver gives it, its zone (`%eth0`) left off."""
    return ip_address(text.partition("%")[0])


def embedded_addresses(address: Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses at which a packet to this IPv6 address may really arrive."""
    if isinstance(address, IPv4Address):
        return ()
    number = int(address)
    low = IPv4Address(number & 0xFFFFFFFF)
    if address in _TEREDO:  # RFC 4380: the server, and the client with its bits turned over
        return IPv4Address(number >> 64 & 0xFFFFFFFF), IPv4Address(~number & 0xFFFFFFFF)
    if address in _6TO4:
        return (IPv4Address(number >> 80 & 0xFFFFFFFF),)
    if any(address in network for network in (_MAPPED, _NAT64, _TRANSLATED)):
        return (low,)
    if address in _COMPATIBLE and int(low) > 1:
        return (low,)
    if number >> 32 & 0xFFFFFFFF in _ISATAP_MARKS:
        return (low,)
    return ()


def is_allowed(address: Address, allowed: tuple[Network, ...]) -> bool:
    """Tell whether the operator's list names the address, or every IPv4 address that it stands for."""
    if _is_within(address, allowed):
        return True
    forms = embedded_addresses(address)
    return bool(forms) and all(_is_within(form, allowed) for form in forms)


def is_reachable(address: Address, allowed: tuple[Network, ...]) -> bool:
    """Tell whether outbound calls may connect to the address: public as a whole and in what it embeds, or allowed."""
    if is_allowed(address, allowed):
        return True
    forms = embedded_addresses(address)
    if not all(is_reachable(form, allowed) for form in forms):
        return False
    if isinstance(address, IPv4Address):
        return not _is_within(address, DENIED_V4)
    # NAT64 and mapped forms lie in denied space, but are only a way to write the IPv4 address that was checked above.
    is_plain_v4 = address in _NAT64 or address in _MAPPED
    return is_plain_v4 or not _is_within(address, DENIED_V6)


def _is_within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
