"""Small parts of the kernel: actor, context, money, locks, checks, pages."""

from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from django.core.checks import Error
from django.db import connection, transaction

from apps.core.actor import ANONYMOUS, Actor, ActorKind, system_actor
from apps.core.api.renderers import JSONRenderer
from apps.core.checks import check_hosts, check_secrets
from apps.core.context import bound, current_actor, current_request_id, new_request_id
from apps.core.ids import uuid7
from apps.core.locks import advisory_key, lock, try_lock
from apps.core.money import from_micros, to_micros


@pytest.mark.parametrize(
    ("granted", "asked", "has"),
    [
        ({"*"}, "keys:write", True),
        ({"keys:write"}, "keys:write", True),
        ({"keys:write"}, "keys:read", True),
        ({"keys:read"}, "keys:write", False),
        ({"users:write"}, "keys:read", False),
        (set(), "keys:read", False),
    ],
)
def test_writing_includes_reading_and_nothing_else(granted: set[str], asked: str, has: bool) -> None:
    assert Actor(kind=ActorKind.API_KEY, scopes=frozenset(granted)).has_scope(asked) is has


def test_an_actor_describes_itself_by_ids_only() -> None:
    user = uuid7()
    assert Actor(kind=ActorKind.USER, user_id=user, role="owner").describe() == {"kind": "user", "user_id": str(user)}
    assert system_actor().describe() == {"kind": "system"}


def test_the_context_ends_with_its_block() -> None:
    before, outer = current_actor(), system_actor(request_id="req_outer")
    with bound(actor=outer):
        with bound(actor=ANONYMOUS, request_id="req_inner"):
            assert (current_actor(), current_request_id()) == (ANONYMOUS, "req_inner")
        with bound(actor=ANONYMOUS):
            assert current_request_id() == "req_outer"
        assert (current_actor(), current_request_id()) == (outer, "req_outer")
    assert current_actor() == before
    assert new_request_id().startswith("req_")


def test_money_is_exact_in_micro_units() -> None:
    assert to_micros("0.1") + to_micros("0.2") == 300_000
    assert [to_micros("0.0000005"), to_micros("0.0000015")] == [0, 2]
    assert from_micros(-1_234_567) == Decimal("-1.234567")


@pytest.mark.django_db(transaction=True)
def test_an_advisory_lock_is_held_until_the_transaction_ends() -> None:
    seen: list[bool] = []

    def look() -> None:
        with transaction.atomic():
            seen.append(try_lock("lamp"))
        connection.close()

    def look_elsewhere() -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    with transaction.atomic():
        lock("lamp")
        look_elsewhere()
    look_elsewhere()
    assert seen == [False, True]
    assert -(2**63) <= advisory_key("lamp") < 2**63


def ids(found: list[Any]) -> list[str]:
    assert all(isinstance(message, Error) and message.hint for message in found)
    return [message.id for message in found]


def test_good_settings_pass() -> None:
    assert check_secrets(None) == []


def test_missing_secrets_stop_the_start(settings: Any) -> None:
    settings.SECRET_KEY = "short"
    settings.FIELD_ENCRYPTION_KEYS = ""
    settings.JWT_PRIVATE_KEY_FILE = Path("/nowhere/key.pem")
    assert ids(check_secrets(None)) == ["core.E001", "core.E002", "core.E003"]


def test_a_malformed_encryption_key_stops_the_start(settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = "a:b"
    assert ids(check_secrets(None)) == ["core.E002"]


def test_any_host_is_refused_in_production(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert ids(check_hosts(None)) == ["core.E004"]
    settings.ALLOWED_HOSTS = ["portico.example"]
    assert check_hosts(None) == []


def test_json_keeps_decimals_exact() -> None:
    body = JSONRenderer().render({"cost": Decimal("0.10"), "tags": {"a"}, "lazy": ({1: "x"}).items()})
    assert body == b'{"cost":"0.10","tags":["a"],"lazy":"dict_items([(1, \'x\')])"}'
    assert JSONRenderer().render(MappingProxyType({"read": "only"})) == b'{"read":"only"}'
    assert JSONRenderer().render(None) == b""
