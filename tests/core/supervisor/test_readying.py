"""Between services and programs: waiting, the schema, the first way in."""

import json

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connection

from apps.core.embedded.state import choose_port
from apps.core.locks import advisory_key
from apps.core.management.commands import up
from apps.core.supervisor import readying
from apps.core.supervisor.errors import StartError
from apps.core.supervisor.launch import Stage
from apps.core.supervisor.readying import (
    Access,
    apply_migrations,
    bring_up_to_date,
    find_missing_migrations,
    get_ready,
    wait_for,
    wait_for_database,
    wait_for_redis,
)

NEW = {"admin_email": "a@b.c", "admin_password": "word", "api_key": "pk_live_x", "api_key_prefix": "pk_live_"}


@pytest.fixture
def commands(monkeypatch):
    """Record the commands that are called; `bootstrap` answers as it does at the first start."""
    called = []

    def record(name, *arguments, **options):
        called.append(" ".join((name, *arguments)))
        if name == "bootstrap":
            options["stdout"].write(json.dumps(NEW))

    monkeypatch.setattr(readying, "call_command", record)
    return called


def never(error):
    return False


def test_waiting_ends_with_the_first_success(monkeypatch):
    monkeypatch.setattr(readying, "PAUSE_SECONDS", 0)
    answers = iter([OSError("not yet"), OSError("not yet"), None])
    said = []

    def is_there():
        answer = next(answers)
        if answer:
            raise answer

    wait_for("it", is_there, errors=(OSError,), hopeless=never, say=said.append)
    assert list(answers) == []
    assert said == ["waiting for it, which does not answer: not yet"]


def test_what_is_waited_for_is_said_again_and_again(monkeypatch):
    monkeypatch.setattr(readying, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(readying, "SAY_SECONDS", -1)
    answers = iter([OSError(""), OSError("gone\nfor long"), None])
    said = []

    def is_there():
        if answer := next(answers):
            raise answer

    wait_for("it", is_there, errors=(OSError,), hopeless=never, say=said.append)
    assert said == [f"waiting for it, which does not answer: {reason}" for reason in ("OSError", "gone")]


def test_an_unexpected_error_is_not_waited_out():
    def is_there():
        raise KeyError("bug")

    with pytest.raises(KeyError):
        wait_for("it", is_there, errors=(OSError,), hopeless=never, say=pytest.fail)


@pytest.mark.django_db
def test_services_that_answer_are_not_waited_for():
    wait_for_database(pytest.fail)
    wait_for_redis(pytest.fail)


@pytest.mark.django_db
def test_a_wrong_password_is_not_waited_out(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "not-the-password")
    with pytest.raises(StartError, match=r"The database of DATABASE_URL refuses us: .*authentication failed"):
        wait_for_database(pytest.fail)


def test_a_redis_that_refuses_the_password_is_not_waited_out(monkeypatch):
    class Locked:
        def ping(self):
            raise redis.AuthenticationError("invalid password")

    monkeypatch.setattr(readying, "get_redis", Locked)
    with pytest.raises(StartError, match="The Redis of REDIS_URL refuses us: invalid password"):
        wait_for_redis(pytest.fail)


def test_a_database_that_is_away_is_waited_for(monkeypatch):
    waits = []

    class Away(Exception):
        pass

    def pause(seconds):
        waits.append(seconds)
        raise Away

    monkeypatch.setitem(connection.settings_dict, "PORT", str(choose_port()))
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setattr(readying.time, "sleep", pause)
    said = []
    with pytest.raises(Away):
        wait_for_database(said.append)
    assert waits == [readying.PAUSE_SECONDS]
    assert said[0].startswith("waiting for the database of DATABASE_URL, which does not answer: ")


def test_it_waits_for_both_services_before_it_brings_anything_up_to_date(monkeypatch):
    order = []
    monkeypatch.setattr(readying, "run_in_copy", lambda work: work())
    monkeypatch.setattr(readying, "wait_for_database", lambda say: order.append("database"))
    monkeypatch.setattr(readying, "wait_for_redis", lambda say: order.append("redis"))
    monkeypatch.setattr(
        readying, "bring_up_to_date", lambda **options: order.append(options["may_migrate"]) or Access("a@b.c")
    )
    assert get_ready(may_migrate=False, say=pytest.fail) == Access("a@b.c")
    assert order == ["database", "redis", False]


@pytest.mark.django_db
def test_a_database_that_is_up_to_date_is_not_migrated(commands):
    assert find_missing_migrations() == []
    access = bring_up_to_date(may_migrate=True, say=pytest.fail)
    assert commands == ["load_models", "bootstrap"]
    assert access == Access("a@b.c", "word", "pk_live_x", "pk_live_")


@pytest.mark.django_db
def test_missing_migrations_are_told_and_applied_before_the_bootstrap(commands, monkeypatch):
    monkeypatch.setattr(readying, "find_missing_migrations", lambda: ["users.0002_more"])
    said = []
    bring_up_to_date(may_migrate=True, say=said.append)
    assert commands == ["migrate", "load_models", "bootstrap"]
    assert said == ["applying 1 migrations"]


def test_migrations_that_alter_much_come_first(commands):
    apply_migrations(["oauth2_provider.0001_initial", "users.0001_initial"])
    assert commands == ["migrate oauth2_provider", "migrate"]


@pytest.mark.django_db
def test_missing_migrations_refuse_the_start_when_they_may_not_be_applied(commands, monkeypatch):
    monkeypatch.setattr(readying, "find_missing_migrations", lambda: [f"users.000{number}" for number in range(5)])
    message = r"5 migrations are not applied \(users.0000, users.0001, users.0002 …\)\. Start without --no-migrate"
    with pytest.raises(StartError, match=message):
        bring_up_to_date(may_migrate=False, say=pytest.fail)
    assert commands == []


@pytest.mark.django_db
def test_migrations_missing_in_the_database_are_found():
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'sessions'")
    assert find_missing_migrations() == ["sessions.0001_initial"]


@pytest.mark.django_db
def test_one_machine_at_a_time_and_the_lock_is_given_back(commands, monkeypatch):
    def count_locks():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
                "WHERE locktype = 'advisory' AND objsubid = 1 AND datname = current_database() "
                "AND (classid::bigint << 32) | objid::bigint = %s",
                [advisory_key("up:default")],
            )
            return cursor.fetchone()[0]

    held = []
    monkeypatch.setattr(readying, "find_missing_migrations", lambda: held.append(count_locks()) or [])
    bring_up_to_date(may_migrate=True, say=pytest.fail)
    assert held == [1]
    assert count_locks() == 0


def test_a_call_around_manage_py_is_refused():
    with pytest.raises(CommandError, match=r"python manage\.py up"):
        call_command("up")


LET_GO = ("premises let go", "supervisor lets go")


class TestUp:
    """The command itself, with everything around it recorded."""

    @pytest.fixture
    def shown(self, monkeypatch):
        shown = []

        class Output:
            say = shown.append
            show = shown.append

        class Plan:
            host, port, programs = "127.0.0.1", 8000, ("web",)

        class Premises:
            services = ()
            plan = Plan
            begun = 0.0
            output = Output
            listener = object()
            remember = None

            @staticmethod
            def let_go():
                shown.append("premises let go")

            @staticmethod
            def wait_for_services():
                shown.append("services")

        class Supervisor:
            def __init__(self, *, services, output, remember):
                pass

            def run(self, programs, *, probe, announce):
                programs()  # the children's way of letting go
                shown.append(probe is not None)
                announce()

            def let_go(self):
                shown.append("supervisor lets go")

        monkeypatch.setattr(Stage, "premises", Premises)
        monkeypatch.setattr(up, "Supervisor", Supervisor)
        monkeypatch.setattr(up, "build_programs", lambda premises, let_go: let_go)
        monkeypatch.setattr(up, "get_ready_to_fork", shown.append)
        monkeypatch.setattr(up, "get_ready", lambda **options: shown.append(options["may_migrate"]) or Access())
        return shown

    def test_it_goes_from_services_to_banner_in_order(self, shown):
        call_command("up")
        assert shown[:-1] == ["services", True, ("web",), *LET_GO, True]
        assert "Portico is running (started in" in shown[-1]

    def test_a_wish_to_stop_that_came_meanwhile_is_heeded(self, shown, monkeypatch):
        monkeypatch.setattr(Stage, "is_asked_to_stop", True)
        call_command("up")
        assert shown == ["services", True]

    def test_a_new_password_is_told_when_the_programs_cannot_even_be_loaded(self, shown, monkeypatch):
        def fail(programs):
            raise ImportError("no such module")

        monkeypatch.setattr(up, "get_ready", lambda **options: Access("a@b.c", "word", "pk_live_x", "pk_live_"))
        monkeypatch.setattr(up, "get_ready_to_fork", fail)
        with pytest.raises(ImportError):
            call_command("up")
        assert "a@b.c  password: word" in shown[-1]
        assert "pk_live_x" in shown[-1]

    def test_without_web_it_neither_asks_for_health_nor_names_places(self, shown, monkeypatch):
        monkeypatch.setattr(Stage.premises, "listener", None)
        call_command("up", no_migrate=True)
        assert shown[1:-1] == [False, ("web",), *LET_GO, False]
        assert "running without web" in shown[-1]
