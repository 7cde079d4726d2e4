"""The catalogue says what really arrives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from uuid import UUID

import orjson
import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from jsonschema import Draft202012Validator

from apps.core.ids import encode_id
from apps.events.events import DomainEvent, event_types
from apps.integrations.management.commands.webhook_events import render
from apps.integrations.models import WebhookDelivery, WebhookEndpoint
from apps.integrations.selectors.catalogue import EXAMPLE_ID, build_body, describe_event, public_event_types
from apps.integrations.services.endpoints import TEST_TYPE
from tests.factories.users import UserFactory
from tests.support.lanterns import LanternLit, light, relay

OURS = [event for event in event_types().values() if event.is_public and event.__module__.startswith("apps.")]


def test_only_public_events_are_offered() -> None:
    assert "lantern.lit" in public_event_types()
    assert "lantern.stolen" not in public_event_types()
    assert TEST_TYPE not in event_types()


@pytest.mark.parametrize("event", [*OURS, LanternLit], ids=lambda event: event.type)
def test_every_example_is_of_its_own_schema(event: type[DomainEvent]) -> None:
    described = describe_event(event)
    Draft202012Validator.check_schema(described.schema)
    Draft202012Validator(described.schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(
        described.example
    )
    assert described.description
    assert described.example["type"] == event.type
    assert set(described.example["data"]) == {"aggregate", "organization_id", *(f.name for f in event.payload_fields())}


@pytest.mark.parametrize("event", OURS, ids=lambda event: event.type)
def test_no_public_event_has_a_fact_that_hides_the_envelope(event: type[DomainEvent]) -> None:
    assert {"aggregate", "organization_id"}.isdisjoint(field.name for field in event.payload_fields())


def test_what_is_sent_is_of_the_schema(endpoint: WebhookEndpoint) -> None:
    user = UserFactory()
    light(endpoint.organization_id, user_id=user.id, watcher_ids=(user.id,))
    relay()
    body = orjson.loads(WebhookDelivery.objects.get().body)
    Draft202012Validator(describe_event(LanternLit).schema).validate(body)
    assert body["data"]["user_id"] == user.public_id


def test_the_schema_names_the_form_of_ids() -> None:
    facts = describe_event(LanternLit).schema["properties"]["data"]["properties"]
    (shown, null) = facts["user_id"]["anyOf"]
    assert (shown["pattern"][:7], null) == ("^user_[", {"type": "null"})
    assert facts["watcher_ids"]["items"] == {"type": "string", "format": "uuid"}
    assert facts["aggregate"]["properties"]["id"] == {"type": "string", "format": "uuid"}
    assert facts["organization_id"]["anyOf"][0]["pattern"].startswith("^org_[")


def test_ids_are_shown_as_the_api_shows_them_and_everything_else_as_it_is() -> None:
    data = build_body(
        event_type="x.y", occurred_at="2026-03-01T12:00:00Z", aggregate_type="webhook_endpoint", aggregate_id=EXAMPLE_ID,
        aggregate_version=7, organization_id=None,
        payload={
            "user_id": str(EXAMPLE_ID), "user_ids": [str(EXAMPLE_ID)], "api_key_id": str(EXAMPLE_ID), "owner_id": str(EXAMPLE_ID),
            "user": str(EXAMPLE_ID), "role_id": None, "user_count_id": 3, "external_user_id": "u-1",
        },
    )["data"]  # fmt: skip
    assert data == {
        "aggregate": {"type": "webhook_endpoint", "id": encode_id("whk", EXAMPLE_ID), "version": 7},
        "organization_id": None,
        "user_id": encode_id("user", EXAMPLE_ID),
        "user_ids": [encode_id("user", EXAMPLE_ID)],
        "api_key_id": encode_id("key", EXAMPLE_ID),
        "owner_id": str(EXAMPLE_ID),
        "user": str(EXAMPLE_ID),
        "role_id": None,
        "user_count_id": 3,
        "external_user_id": "u-1",
    }


def test_a_request_is_named_as_in_headers_and_exports() -> None:
    data = build_body(
        event_type="x.y", occurred_at="2026-03-01T12:00:00Z", aggregate_type="lantern", aggregate_id=EXAMPLE_ID,
        aggregate_version=1, organization_id=None, payload={"request_id": str(EXAMPLE_ID)},
    )["data"]  # fmt: skip
    assert data["request_id"] == encode_id("req", EXAMPLE_ID)


def test_an_id_that_is_no_uuid_is_left_as_it_is() -> None:
    data = build_body(
        event_type="x.y", occurred_at="2026-03-01T12:00:00Z", aggregate_type="lantern", aggregate_id=EXAMPLE_ID,
        aggregate_version=1, organization_id=None, payload={"user_id": "nobody"},
    )["data"]  # fmt: skip
    assert data["user_id"] == "nobody"


def test_the_page_is_current() -> None:
    page = (settings.BASE_DIR / "docs" / "webhook-events.md").read_text()
    assert page == render([describe_event(event) for event in OURS]), "run manage.py webhook_events"


def test_the_page_names_types_in_words() -> None:
    @dataclass(frozen=True, kw_only=True)
    class BellRung(DomainEvent):
        """A bell was rung."""

        type: ClassVar[str] = "bell.rung"
        aggregate_type: ClassVar[str] = "bell"
        example: ClassVar[dict[str, Any]] = {"tone": "low", "user_ids": [], "extra": {}, "pair": []}

        tone: Literal["low", "high"]
        user_ids: tuple[UUID, ...]
        pair: tuple[int, str]
        extra: Any = None

    page = render([describe_event(BellRung)])
    for row in (
        "| `tone` | `low` or `high` |", "| `user_ids` | list of id `user_…` |", "| `pair` | list of integer |",
        "| `extra` | any |", "| `organization_id` | id `org_…` or null |", "- [`bell.rung`](#bellrung)",
    ):  # fmt: skip
        assert row in page


def test_the_command_writes_and_checks(tmp_path) -> None:
    page = tmp_path / "events.md"
    with pytest.raises(CommandError, match="is not current"):
        call_command("webhook_events", "--check", file=page)
    call_command("webhook_events", file=page)
    call_command("webhook_events", "--check", file=page)
    assert "## lantern.lit\n\nA lantern was lit.\n" in page.read_text()
    page.write_text(page.read_text() + " ")
    with pytest.raises(CommandError, match="is not current"):
        call_command("webhook_events", "--check", file=page)
