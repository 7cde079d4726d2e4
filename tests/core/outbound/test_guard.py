"""What somebody typed in never makes the server call where it must not."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.checks import check_outbound_networks
from apps.core.outbound import guard
from apps.core.outbound.errors import FailureKind, OutboundFailed, OutboundRefused
from apps.core.outbound.guard import inspect_url, resolve_target, system_resolver
from apps.core.outbound.networks import embedded_addresses, is_reachable, parse_networks
from tests.core.outbound.corpus import INNER, INNER_V6, MALFORMED, PUBLIC, disguises

ALL_INNER = [*INNER, *INNER_V6, *(disguise for inner in INNER for disguise in disguises(inner))]


def literal(address: str) -> str:
    """Return a URL with the address as its host."""
    return f"https://[{address}]/" if ":" in address else f"https://{address}/"


@pytest.fixture(autouse=True)
def _nothing_allowed(settings):
    settings.OUTBOUND_ALLOW = []


def unreachable_resolver(host, port):
    raise AssertionError(f"the name server was asked for {host}")


def test_the_corpus_is_large() -> None:
    assert len(set(MALFORMED)) + 2 * len(set(ALL_INNER)) >= 200
    assert len(set(MALFORMED)) == len(MALFORMED)


@pytest.mark.parametrize("url", MALFORMED)
def test_what_can_be_read_in_more_than_one_way_is_refused_before_any_look_up(url: str) -> None:
    with pytest.raises(OutboundRefused):
        inspect_url(url)
    with pytest.raises(OutboundRefused):
        resolve_target(url, resolver=unreachable_resolver)


@pytest.mark.parametrize("address", ALL_INNER)
def test_inner_addresses_are_refused_as_hosts_and_as_answers_of_name_servers(address: str) -> None:
    with pytest.raises(OutboundRefused, match="not a public address"):
        inspect_url(literal(address))
    with pytest.raises(OutboundRefused, match="not a public address"):
        resolve_target("https://rebind.example.com/", resolver=lambda host, port: [address])


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reachable(address: str) -> None:
    destination = resolve_target(literal(address), resolver=unreachable_resolver)
    assert destination.addresses == (ip_address(address),)
    named = resolve_target("https://hooks.example.com:8443/in?a=1#top", resolver=lambda host, port: [address])
    assert (named.target.host, named.target.port, named.addresses) == (
        "hooks.example.com",
        8443,
        (ip_address(address),),
    )
    assert named.target.url == "https://hooks.example.com:8443/in?a=1"


@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_inner_address_among_public_ones_is_enough_to_refuse(position: int) -> None:
    answers = ["8.8.8.8", "2606:4700:4700::1111"]
    answers.insert(position, "10.0.0.1")
    with pytest.raises(OutboundRefused, match=r"leads to 10\.0\.0\.1"):
        resolve_target("https://example.com/", resolver=lambda host, port: answers)


def test_a_name_is_resolved_once_and_its_second_answer_comes_too_late() -> None:
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    destination = resolve_target("https://rebind.example.com/", resolver=lambda host, port: next(answers))
    assert destination.addresses == (ip_address("8.8.8.8"),)
    assert next(answers) == ["127.0.0.1"]


def test_plain_http_is_refused_unless_every_address_is_the_operators_own(settings) -> None:
    def answers(*addresses):
        return lambda host, port: addresses

    with pytest.raises(OutboundRefused, match="must begin with https"):
        inspect_url("http://example.com/")
    with pytest.raises(OutboundRefused, match="must begin with https"):
        resolve_target("http://example.com/", resolver=answers("8.8.8.8"))
    settings.OUTBOUND_ALLOW = ["10.1.0.0/16", "fd00::/8"]
    assert inspect_url("http://inner.example.com/").scheme == "http"
    destination = resolve_target(
        "http://inner.example.com/", resolver=answers("10.1.2.3", "fd00::1", "::ffff:10.1.0.9")
    )
    assert len(destination.addresses) == 3
    with pytest.raises(OutboundRefused, match="must begin with https"):
        resolve_target("http://example.com/", resolver=answers("10.1.2.3", "8.8.8.8"))
    with pytest.raises(OutboundRefused, match=r"10\.2\.0\.1"):
        resolve_target("http://example.com/", resolver=answers("10.1.2.3", "10.2.0.1"))


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("localhost", "127.0.0.0/8"),
        ("LocalHost.", "127.0.0.0/8"),
        ("foo.localhost", "::1/128"),
        ("printer.local", "192.168.0.0/16"),
    ],
)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_names_of_this_machine_and_its_neighbours_are_refused_unless_opened(
    settings, scheme: str, host: str, network: str
) -> None:
    with pytest.raises(OutboundRefused, match="is not a public one"):
        inspect_url(f"{scheme}://{host}:8443/hook")
    settings.OUTBOUND_ALLOW = [network]
    assert inspect_url(f"{scheme}://{host}:8443/hook").host == host.lower()


def test_localhost_is_opened_by_loopback_alone(settings) -> None:
    settings.OUTBOUND_ALLOW = ["10.0.0.0/8"]
    with pytest.raises(OutboundRefused, match="is not a public one"):
        inspect_url("https://localhost/")


@pytest.mark.parametrize("host", ["localhost.example.com", "local.example.com", "mylocalhost", "portal"])
def test_names_that_only_look_like_them_are_left_to_the_name_server(host: str) -> None:
    assert inspect_url(f"https://{host}/").host == host


def test_an_opened_network_opens_nothing_else(settings) -> None:
    settings.OUTBOUND_ALLOW = ["127.0.0.1/32"]
    assert resolve_target("http://127.0.0.1:9/x").target.port == 9
    for address in ("127.0.0.2", "169.254.169.254", "::1"):
        with pytest.raises(OutboundRefused):
            resolve_target(literal(address))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (OSError("Name or service not known"), "cannot be resolved: Name or service"),
        ([], "has no address"),
        (["not-an-address"], "cannot be resolved"),
    ],
)
def test_a_name_that_leads_nowhere_is_a_failure_and_no_refusal(answer, words: str) -> None:
    def resolver(host, port):
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(OutboundFailed, match=words) as caught:
        resolve_target("https://nowhere.example.com/", resolver=resolver)
    assert caught.value.kind == FailureKind.RESOLVE


def test_international_names_go_out_in_their_ascii_form() -> None:
    target = inspect_url("https://bücher.example/ü")
    assert (target.host, target.url) == ("xn--bcher-kva.example", "https://xn--bcher-kva.example/%C3%BC")


def test_the_zone_of_an_answer_is_not_an_escape() -> None:
    with pytest.raises(OutboundRefused):
        resolve_target("https://example.com/", resolver=lambda host, port: ["fe80::1%eth0"])


def test_the_systems_resolver_answers_without_duplicates(monkeypatch) -> None:
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [entry, entry])
    assert system_resolver("example.com", 443) == ["8.8.8.8"]


def test_a_name_server_that_does_not_answer_is_left_behind(monkeypatch) -> None:
    monkeypatch.setattr(guard, "RESOLVE_SECONDS", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(0.3) or [])
    with pytest.raises(OutboundFailed, match="no answer within"):
        resolve_target("https://example.com/")


def test_a_failure_of_the_systems_resolver_is_passed_on(monkeypatch) -> None:
    def fail(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(socket.gaierror):
        system_resolver("nowhere.example.com", 443)


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_is_reachable_that_carries_an_unreachable_one(address) -> None:
    inner = [form for form in embedded_addresses(address) if not is_reachable(form, ())]
    assert not (inner and is_reachable(address, ()))


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_reachable_exactly_when_the_address_is(address) -> None:
    mapped = ip_address(f"::ffff:{address}")
    nat64 = ip_address(f"64:ff9b::{address}")
    assert is_reachable(mapped, ()) == is_reachable(nat64, ()) == is_reachable(address, ())


def test_networks_are_read_with_host_bits_and_nonsense_is_named() -> None:
    assert [str(network) for network in parse_networks(["10.1.2.3/8", "fd00::1"])] == ["10.0.0.0/8", "fd00::1/128"]
    with pytest.raises(ValueError, match="tenth"):
        parse_networks(["tenth"])


def test_a_url_that_the_sending_library_reads_differently_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(guard, "_read_name", lambda text: ("other.example.com", None))
    with pytest.raises(OutboundRefused, match="two ways"):
        inspect_url("https://example.com/")


@given(
    st.text(max_size=60), st.sampled_from(["https://", "https://example.com", "https://example.com/", "HTTP://[::", ""])
)
def test_any_text_is_either_read_or_refused(text: str, start: str) -> None:
    try:
        target = inspect_url(start + text)
    except OutboundRefused:
        return
    assert target.scheme == "https"
    assert target.url.startswith("https://")


def test_a_list_of_networks_that_cannot_be_read_stops_the_start(settings) -> None:
    assert check_outbound_networks(None) == []
    settings.OUTBOUND_ALLOW = ["10.0.0.0/8", "10.0.0.0/99"]
    assert [found.id for found in check_outbound_networks(None)] == ["core.E005"]
