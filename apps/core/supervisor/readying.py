"""Between services and programs: wait for them, bring the schema up to date, make sure there is somebody to log in."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
import redis
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.migrations.executor import MigrationExecutor

from apps.core.locks import advisory_key
from apps.core.redis import get_redis
from apps.core.supervisor.errors import StartError
from apps.core.supervisor.forking import run_in_copy

SAY_SECONDS = 10.0
CONNECT_SECONDS = 5
PAUSE_SECONDS = 0.2
HOPELESS = re.compile(r"authentication failed|does not exist|no pg_hba\.conf entry")
"""What Postgres says of a wrong name or password: to wait for it would only hide the mistake."""

EARLY = ("oauth2_provider",)
"""Apps whose migrations alter much that all people's rows hang on: each alteration costs the more, the more models
there are by then. It takes a third off the first start."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the first person gets in; what was not generated just now is not known in clear."""

    admin_email: str = ""
    admin_password: str | None = None
    api_key: str | None = None
    api_key_prefix: str = ""


def get_ready(*, may_migrate: bool, say: Callable[[str], None]) -> Access:
    """Wait for the services, bring database and catalogue up to date, and return how to get in.

    Raises:
        StartError: a service refuses us, or migrations are missing and may not be applied.
    """

    def work() -> dict[str, Any]:
        wait_for_database(say)
        wait_for_redis(say)
        return asdict(bring_up_to_date(may_migrate=may_migrate, say=say))

    return Access(**run_in_copy(work))


def wait_for(
    name: str,
    is_there: Callable[[], None],
    *,
    errors: tuple[type[Exception], ...],
    hopeless: Callable[[Exception], bool],
    say: Callable[[str], None],
) -> None:
    """Call `is_there` until it raises none of `errors`, and say every ten seconds what is being waited for.

    Raises:
        StartError: the error is one that waiting does not mend (`hopeless`): a wrong password, say.
    """
    said_at = float("-inf")
    while True:
        try:
            is_there()
        except errors as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            if hopeless(error):
                raise StartError(f"{name[0].upper()}{name[1:]} refuses us: {reason}") from error
            if time.monotonic() - said_at > SAY_SECONDS:
                said_at = time.monotonic()
                say(f"waiting for {name}, which does not answer: {reason}")
            time.sleep(PAUSE_SECONDS)
        else:
            return


def wait_for_database(say: Callable[[str], None]) -> None:
    """Return when the database of DATABASE_URL takes connections."""

    def connect() -> None:
        # Not through the pool: it hides why a connection could not be made.
        given = connection.settings_dict
        psycopg.connect(
            host=given["HOST"],
            port=given["PORT"],
            dbname=given["NAME"],
            user=given["USER"],
            password=given["PASSWORD"],
            connect_timeout=CONNECT_SECONDS,
        ).close()

    wait_for(
        "the database of DATABASE_URL",
        connect,
        errors=(psycopg.OperationalError,),
        hopeless=lambda error: HOPELESS.search(str(error)) is not None,
        say=say,
    )


def wait_for_redis(say: Callable[[str], None]) -> None:
    """Return when the Redis of REDIS_URL answers."""

    def ping() -> None:
        get_redis().ping()

    wait_for(
        "the Redis of REDIS_URL",
        ping,
        errors=(redis.RedisError,),
        hopeless=lambda error: isinstance(error, redis.AuthenticationError),
        say=say,
    )


def bring_up_to_date(*, may_migrate: bool, say: Callable[[str], None]) -> Access:
    """Apply what migrations are missing, load the catalogue, bootstrap; one machine at a time.

    Raises:
        StartError: migrations are missing and may not be applied.
    """
    with _alone():
        missing = find_missing_migrations()
        if missing and not may_migrate:
            raise StartError(
                f"{len(missing)} migrations are not applied ({', '.join(missing[:3])}{' …' if missing[3:] else ''}). "
                "Start without --no-migrate, or run `manage.py migrate` first."
            )
        if missing:
            say(f"applying {len(missing)} migrations")
            apply_migrations(missing)
        # At each start: providers come and go with the environment.
        call_command("load_models", stdout=io.StringIO())
        # Last: what fails after it would take the only copy of a new password along.
        return bootstrap()


def apply_migrations(missing: Sequence[str]) -> None:
    """Apply the migrations that are missing, by name, those of EARLY apps first."""
    for app in EARLY:
        if any(name.startswith(f"{app}.") for name in missing):
            call_command("migrate", app, interactive=False, verbosity=0)
    call_command("migrate", interactive=False, verbosity=0)


def find_missing_migrations() -> list[str]:
    """Return the names of the migrations that the database has not seen, in order."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def bootstrap() -> Access:
    """Run `manage.py bootstrap` and return how to get in."""
    answer = io.StringIO()
    call_command("bootstrap", json=True, stdout=answer)
    facts = json.loads(answer.getvalue())
    return Access(
        admin_email=facts.get("admin_email") or "",
        admin_password=facts.get("admin_password"),
        api_key=facts.get("api_key"),
        api_key_prefix=facts.get("api_key_prefix") or "",
    )


@contextmanager
def _alone() -> Iterator[None]:
    """Hold a lock of the session: migrations open and close transactions of their own."""
    key = advisory_key(f"up:{DEFAULT_DB_ALIAS}")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [key])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
