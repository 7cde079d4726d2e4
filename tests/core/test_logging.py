"""Log lines: structured, with the request and the caller, without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest
import structlog

from apps.core.actor import Actor, ActorKind
from apps.core.context import bound
from apps.core.ids import uuid7
from apps.core.logging import MASK, build_logging, mask

CANARIES = [
    "pk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVW",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "prt_0123456789abcdefghijklmnop-_0123456789",
    "sk-proj-abcdefghijklmnopqrstuvwxyz",
    "Bearer abcdefghijklmnop",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJl",
]


@pytest.fixture
def lines() -> Iterator[StringIO]:
    """Give what the JSON set-up writes to its stream."""
    line = build_logging(form="json", level="INFO")["formatters"]["line"]
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(line.pop("()")(**line))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("canary", CANARIES)
def test_a_secret_is_masked_wherever_it_stands(canary: str) -> None:
    assert canary not in json.dumps(mask({"a": [f"x {canary} y", {"b": (canary,)}], canary[:3]: canary}))


@pytest.mark.parametrize(
    "name", ["password", "api_key", "X-Api-Key", "client_secret", "refresh_token", "Authorization"]
)
def test_a_value_with_a_secret_name_is_masked(name: str) -> None:
    assert mask({name: "short"}) == {name: MASK}


def test_urls_lose_their_passwords_and_nothing_else() -> None:
    assert mask("postgresql://portico:hunter2@db:5432/x") == f"postgresql://{MASK}@db:5432/x"
    assert mask({"tokens": 12, "key": "title", "n": None}) == {"tokens": MASK, "key": "title", "n": None}


@pytest.mark.parametrize("name", ["access_token", "token", "code"])
def test_what_a_query_string_calls_a_secret_is_masked_whatever_it_looks_like(name: str) -> None:
    line = f'"WebSocket /api/v3/chat/ws?after=7&{name}=0123456789abcdef&x=1" [accepted]'
    assert mask(line) == f'"WebSocket /api/v3/chat/ws?after=7&{name}={MASK}&x=1" [accepted]'


def test_a_line_is_json_with_request_and_caller(lines: StringIO) -> None:
    actor = Actor(kind=ActorKind.USER, user_id=uuid7(), organization_id=uuid7(), request_id="req_1")
    with bound(actor=actor):
        structlog.get_logger("apps.test").info("lamp_lit", brightness=3, password="hunter2")
    line = json.loads(lines.getvalue())
    assert (line["message"], line["brightness"], line["password"]) == ("lamp_lit", 3, MASK)
    assert (line["request_id"], line["user_id"]) == ("req_1", str(actor.user_id))
    assert (line["level"], line["logger"]) == ("info", "apps.test")


def test_lines_of_libraries_are_masked_too(lines: StringIO) -> None:
    logging.getLogger("library").warning("sent %s", CANARIES[0])
    line = json.loads(lines.getvalue())
    assert line["message"] == f"sent {MASK}"
