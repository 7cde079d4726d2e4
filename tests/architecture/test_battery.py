"""Every endpoint inherits the same battery: who is not let in, and how they are told."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from rest_framework.test import APIClient

from apps.core.ids import encode_id, uuid7
from apps.users.models import Membership
from tests.factories.users import ApiKeyFactory, MembershipFactory

ROOT = Path(__file__).resolve().parents[2]
ROWS = list(csv.DictReader((ROOT / "docs" / "permissions.csv").open()))
CLOSED = [row for row in ROWS if row["open"] == "no"]
IDS = {
    "conversation_id": "conv",
    "cid": "conv",
    "message_id": "msg",
    "run_id": "run",
    "user_id": "user",
    "key_id": "key",
    "team_id": "team",
}


def name(row: dict[str, str]) -> str:
    return f"{row['method']} {row['path']}"


def fill(path: str) -> str:
    """Put an id that nobody has into every parameter."""
    return re.sub(r"\{(\w+)\}", lambda found: encode_id(IDS.get(found[1], "whk"), uuid7()), path)


def ask(client: APIClient, row: dict[str, str], path: str = "") -> tuple[int, dict]:
    answer = client.generic(row["method"], path or fill(row["path"]), "{}", content_type="application/json")
    assert answer["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()


def with_key(membership: Membership, scopes: list[str]) -> APIClient:
    _, secret = ApiKeyFactory.with_secret(membership=membership, scopes=scopes)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def test_every_closed_endpoint_states_its_scope() -> None:
    assert len(CLOSED) > 20
    assert [name(row) for row in CLOSED if not re.fullmatch(r"[a-z]+:[a-z]+", row["scope"])] == []


@pytest.mark.django_db
@pytest.mark.parametrize("row", CLOSED, ids=name)
def test_the_anonymous_are_asked_to_log_in(row: dict[str, str]) -> None:
    status, problem = ask(APIClient(), row)
    assert (status, problem["code"]) == (401, "not_authenticated")


@pytest.mark.django_db
@pytest.mark.parametrize("row", CLOSED, ids=name)
def test_a_made_up_key_opens_nothing(row: dict[str, str]) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION="Bearer pk_live_000000000000000000000000000000000")
    status, problem = ask(client, row)
    assert (status, problem["status"]) == (401, 401)


@pytest.mark.parametrize("row", CLOSED, ids=name)
def test_a_key_without_the_scope_is_refused_by_name(row: dict[str, str], member: Membership) -> None:
    status, problem = ask(with_key(member, ["nothing:read"]), row)
    assert (status, problem["code"]) == (403, "users.scope_missing")
    assert row["scope"] in problem["detail"]


@pytest.mark.django_db
@pytest.mark.parametrize("row", [row for row in CLOSED if row["role"] in {"member", "admin", "owner"}], ids=name)
def test_a_viewer_changes_nothing(row: dict[str, str]) -> None:
    status, problem = ask(with_key(MembershipFactory(role="viewer"), []), row)
    assert (status, problem["code"]) == (403, "users.role_too_low")


@pytest.mark.parametrize("row", [row for row in CLOSED if row["staff"] == "yes"], ids=name)
def test_a_member_is_not_staff(row: dict[str, str], member: Membership) -> None:
    assert ask(with_key(member, []), row)[0] == 403


@pytest.mark.django_db
@pytest.mark.parametrize("row", [row for row in CLOSED if "{" in row["path"]], ids=name)
def test_what_does_not_exist_is_not_there_for_its_owner_either(row: dict[str, str]) -> None:
    status, problem = ask(with_key(MembershipFactory(role="owner"), []), row)
    assert (status, problem["status"]) in {(404, 404), (400, 400)}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "row", [row for row in CLOSED if row["method"] == "GET" and row["role"] in {"admin", "owner"}], ids=name
)
def test_head_needs_what_get_needs(row: dict[str, str]) -> None:
    assert with_key(MembershipFactory(role="viewer"), []).head(fill(row["path"])).status_code == 403
