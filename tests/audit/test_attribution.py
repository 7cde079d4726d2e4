"""A change names who made it and in which request, and costs nothing where nothing is written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connection, transaction
from django.db.utils import DatabaseError
from pytest_django import Settings

from apps.audit.models import RowChange
from apps.audit.services.attribution import AttributeWrites, attribute_connection
from apps.core.actor import ANONYMOUS, Actor, ActorKind, system_actor
from apps.core.context import bound, set_actor, set_request_id
from apps.core.ids import uuid7
from apps.users.models import Organization
from tests.factories.users import OrganizationFactory

ANNA = Actor(kind=ActorKind.USER, user_id=uuid7(), organization_id=uuid7(), role="admin", request_id="req_anna")
BERT = Actor(kind=ActorKind.API_KEY, user_id=uuid7(), api_key_id=uuid7(), request_id="req_bert")


@pytest.fixture(autouse=True)
def _nobody_is_served() -> Iterator[None]:
    with bound(actor=ANONYMOUS):
        set_request_id("")
        yield


def attributions() -> dict[str, tuple[Any, str]]:
    """Return (actor, request id) by the name that an organization was given."""
    rows = RowChange.objects.filter(table_name="users_organization").exclude(operation="deleted")
    return {row.after["name"]: (row.actor, row.request_id) for row in rows}


def write(name: str) -> None:
    OrganizationFactory(name=name, slug=name)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of what is sent to the server as the context, as it grows."""
    found: list[str] = []
    original = psycopg.Cursor.execute

    def watch(cursor: Any, query: Any, params: Any = None, **options: Any) -> Any:
        if isinstance(query, str) and "portico.context" in query:
            found.append(params[0])
        return original(cursor, query, params, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", watch)
    monkeypatch.setattr(psycopg.ClientCursor, "execute", watch, raising=False)
    return found


@pytest.mark.django_db
def test_a_change_names_the_actor_and_the_request() -> None:
    with bound(actor=ANNA):
        write("hers")
    assert attributions() == {"hers": (ANNA.describe(), "req_anna")}


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["bootstrap", "load_models"])
def test_what_a_command_of_ours_changes_was_changed_by_the_platform(command: str, settings: Settings) -> None:
    settings.GATEWAY_PROVIDERS = {"sandbox": {"name": "Sandbox", "base_url": "", "credential": ""}}
    call_command(command, stdout=StringIO())
    assert {row.actor["kind"] for row in RowChange.objects.all()} == {"system"}


@pytest.mark.django_db(transaction=True)
def test_two_requests_on_one_connection_keep_their_own_actors() -> None:
    with bound(actor=ANNA), transaction.atomic():
        write("a1")
        write("a2")
    with bound(actor=BERT), transaction.atomic():
        write("b1")
    with transaction.atomic():
        write("nobody")
    found = attributions()
    assert found["a1"] == found["a2"] == (ANNA.describe(), "req_anna")
    assert found["b1"] == (BERT.describe(), "req_bert")
    assert found["nobody"][0]["kind"] == "shell"
    assert found["nobody"][1] == ""


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_each_statement_is_attributed() -> None:
    with bound(actor=ANNA):
        write("a1")
    with bound(actor=BERT):
        write("b1")
        with transaction.atomic():
            write("b2")
    write("nobody")
    with transaction.atomic():
        write("nobody in a transaction")
    with bound(actor=ANNA):
        write("a2")
    found = attributions()
    assert {name: who["kind"] for name, (who, _) in found.items()} == {
        "a1": "user", "b1": "api_key", "b2": "api_key", "nobody": "shell", "nobody in a transaction": "shell", "a2": "user",
    }  # fmt: skip
    assert [found[name][1] for name in ("a1", "b1", "b2", "a2")] == ["req_anna", "req_bert", "req_bert", "req_anna"]


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_savepoint_does_not_lose_the_actor() -> None:
    with bound(actor=ANNA), transaction.atomic():
        with transaction.atomic():
            write("gone")
            transaction.set_rollback(True)
        write("after the savepoint")
        with transaction.atomic():
            write("in another")
            with transaction.atomic():
                write("gone too")
                transaction.set_rollback(True)
            write("in another still")
    assert attributions() == dict.fromkeys(
        ("after the savepoint", "in another", "in another still"), (ANNA.describe(), "req_anna")
    )


@pytest.mark.django_db(transaction=True)
def test_a_savepoint_that_served_somebody_else_gives_the_transaction_back() -> None:
    with bound(actor=ANNA), transaction.atomic():
        write("a1")
        with bound(actor=BERT), transaction.atomic():
            write("b1")
            transaction.set_rollback(True)
        write("a2")
        with bound(actor=BERT), transaction.atomic():
            write("b2")
        write("a3")
    assert {name: request for name, (_, request) in attributions().items()} == {
        "a1": "req_anna", "a2": "req_anna", "b2": "req_bert", "a3": "req_anna",
    }  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_nobody_inside_a_savepoint_of_somebody_is_nobody() -> None:
    set_actor(ANNA)
    with transaction.atomic():
        write("a1")
        with bound(actor=ANONYMOUS), transaction.atomic():
            set_request_id("")
            write("nobody")
            transaction.set_rollback(True)
        with bound(actor=ANONYMOUS):
            set_request_id("")
            write("nobody again")
    assert {name: who["kind"] for name, (who, _) in attributions().items()} == {"a1": "user", "nobody again": "shell"}


@pytest.mark.django_db(transaction=True)
def test_a_failed_transaction_reports_its_own_error_and_the_next_is_attributed() -> None:
    with bound(actor=ANNA):
        with (
            pytest.raises(DatabaseError, match="division by zero"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT 1 / 0")
        with transaction.atomic(), connection.cursor() as cursor:
            with pytest.raises(DatabaseError, match="division by zero"):
                cursor.execute("SELECT 1 / 0")
            with pytest.raises(DatabaseError, match="aborted"):
                cursor.execute("UPDATE users_organization SET name = name")
        with transaction.atomic():
            write("afterwards")
    assert attributions() == {"afterwards": (ANNA.describe(), "req_anna")}


@pytest.mark.django_db(transaction=True)
def test_reading_sends_nothing(sent: list[str], django_assert_num_queries: Callable) -> None:
    with bound(actor=ANNA), transaction.atomic(), django_assert_num_queries(4):
        list(Organization.objects.filter())
        with transaction.atomic():
            Organization.objects.exists()
    assert sent == []


@pytest.mark.django_db(transaction=True)
def test_a_transaction_sends_the_context_once_and_unseen(sent: list[str], django_assert_num_queries: Callable) -> None:
    with bound(actor=ANNA), django_assert_num_queries(5), transaction.atomic():
        Organization.objects.exists()
        write("one")
        Organization.objects.update(is_active=False)
    assert len(sent) == 1


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_the_context_is_sent_when_it_changes(sent: list[str]) -> None:
    with bound(actor=ANNA):
        write("one")
        write("two")
    with bound(actor=BERT):
        write("three")
    assert len(sent) == 2


@pytest.mark.django_db
def test_an_anonymous_request_is_anonymous_and_a_shell_is_a_shell() -> None:
    with bound(actor=ANONYMOUS, request_id="req_visitor"):
        write("visitor")
    write("shell")
    found = attributions()
    assert found["visitor"] == ({"kind": "anonymous"}, "req_visitor")
    assert found["shell"] == ({"kind": "shell", "db_user": current_user(), "application": "portico"}, "")


@pytest.mark.django_db(transaction=True)
def test_other_programs_are_named_by_user_and_application() -> None:
    settings = connection.get_connection_params()
    names = {key: settings[key] for key in ("host", "port", "user", "password", "dbname")}
    with psycopg.connect(**names, application_name="psql", autocommit=True) as stranger:
        stranger.execute("INSERT INTO auth_group (name) VALUES ('by hand')")
    made = RowChange.objects.get(table_name="auth_group")
    assert made.actor == {"kind": "sql", "db_user": names["user"], "application": "psql"}
    assert (made.application, made.db_user, made.request_id) == ("psql", names["user"], "")


@pytest.mark.django_db(transaction=True)
def test_the_platform_itself_is_an_actor() -> None:
    with bound(actor=system_actor(), request_id="req_sweep"), transaction.atomic():
        write("swept")
    assert attributions() == {"swept": ({"kind": "system"}, "req_sweep")}


@pytest.mark.django_db(transaction=True)
def test_the_context_follows_into_threads_of_asynchronous_code() -> None:
    async def serve(actor: Actor, name: str) -> None:
        with bound(actor=actor):
            await asyncio.sleep(0)
            await sync_to_async(write_and_close)(name)

    async def serve_both() -> None:
        await asyncio.gather(serve(ANNA, "a"), serve(BERT, "b"))

    asyncio.run(serve_both())
    assert {name: request for name, (_, request) in attributions().items()} == {"a": "req_anna", "b": "req_bert"}


@pytest.mark.django_db(transaction=True)
def test_a_new_connection_is_attributed_from_its_first_statement() -> None:
    def serve() -> None:
        with bound(actor=BERT):
            write_and_close("from a thread")

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(timeout=30)
    assert attributions() == {"from a thread": (BERT.describe(), "req_bert")}


@pytest.mark.django_db
def test_a_connection_is_wrapped_once_and_before_others() -> None:
    def pass_on(execute: Callable, *args: Any) -> Any:
        return execute(*args)

    with connection.execute_wrapper(pass_on):
        attribute_connection(connection)
        attribute_connection(connection)
        assert [type(wrapper) for wrapper in connection.execute_wrappers if isinstance(wrapper, AttributeWrites)] == [
            AttributeWrites
        ]
        assert connection.execute_wrappers[-1] is pass_on


@pytest.mark.django_db
def test_statements_that_are_no_text_count_as_writes(sent: list[str]) -> None:
    with bound(actor=ANNA), connection.cursor() as cursor:
        cursor.execute(psycopg.sql.SQL("UPDATE users_organization SET name = {}").format("x"))
    assert len(sent) == 1


def write_and_close(name: str) -> None:
    try:
        write(name)
    finally:
        connection.close()


def current_user() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return cursor.fetchone()[0]
