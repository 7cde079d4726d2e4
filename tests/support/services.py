"""The Postgres and Redis of the test session, as a pytest plugin (`-p tests.support.services`).

A plugin and not a conftest, because settings read the environment before any conftest is loaded. One Postgres serves
the whole session: pytest-django gives every xdist worker a database of its own in it. Every worker runs a Redis of its
own, because Pub/Sub and FLUSHALL know no logical databases.

The servers' data lies in memory where there is room, and nothing outlives the session: the kernel ends the servers
with their pytest process, and the directories of a killed session are swept by the next one.

The migrations run once, in a process of its own while the workers gather their tests; each worker's database is a copy
of what they made.

`PORTICO_TEST_DATABASE_URL` and `PORTICO_TEST_REDIS_URL` name servers to use instead; the role needs CREATEDB and
`vector` in template1, and each worker takes one logical database of the Redis.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from apps.core.embedded import EmbeddedPostgres, EmbeddedRedis
from apps.core.embedded.service import EmbeddedService

PREFIX = "portico-test-"
SHARED_MEMORY = Path("/dev/shm")
NEEDED_BYTES = 1024**3
ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "portico_migrated"
MIGRATE = """
import django
django.setup()
from apps.core.supervisor.readying import apply_migrations, find_missing_migrations
apply_migrations(find_missing_migrations())
print("done")
"""
TEMPLATE_LOCK = "PORTICO_TEST_TEMPLATE_LOCK"
"""Environment variable that names the file which is locked while the migrations run, and holds what they say."""


class SessionServices:
    """The servers that this pytest process started."""

    def __init__(self) -> None:
        self.running: list[EmbeddedService] = []
        self.migration: subprocess.Popen[bytes] | None = None
        self.directory: Path | None = None
        self.lock: IO[str] | None = None

    def start(self) -> None:
        """Start what this process needs and put the URLs where settings look for them."""
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        given = os.environ.get("PORTICO_TEST_DATABASE_URL")
        if not worker:
            os.environ["DATABASE_URL"] = given or self._run(EmbeddedPostgres)
        os.environ["REDIS_URL"] = self._find_redis_url(worker)
        os.environ["CELERY_BROKER_URL"] = os.environ["REDIS_URL"]
        if not worker and not given:
            self._begin_template(os.environ["DATABASE_URL"])

    def stop(self) -> None:
        """Stop the servers and remove their data."""
        if self.migration is not None:
            self.migration.kill()
            self.migration.wait()
            self.migration = None
        for service in self.running:
            service.stop()
        self.running.clear()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

    def _begin_template(self, database_url: str) -> None:
        """Let a process migrate a database of which others are copied; it holds a lock until it ends."""
        assert self.directory is not None
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        path = self.directory / "template"
        with path.open("w") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            # Not measured for coverage: migrations are not part of it, and run at half their speed.
            kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
            self.migration = subprocess.Popen(
                [sys.executable, "-c", MIGRATE],
                cwd=ROOT,
                env={
                    **kept,
                    "DJANGO_SETTINGS_MODULE": "project.settings.test",
                    "DATABASE_URL": urlunsplit(urlsplit(database_url)._replace(path=f"/{TEMPLATE}")),
                },
                stdout=log,
                stderr=log,
            )
        os.environ[TEMPLATE_LOCK] = str(path)

    def _find_redis_url(self, worker: str) -> str:
        given = os.environ.get("PORTICO_TEST_REDIS_URL")
        if not given:
            return self._run(EmbeddedRedis)
        number = int(worker.removeprefix("gw")) + 1 if worker else 0
        return f"{given.rstrip('/')}/{number}"

    def _run(self, kind: type[EmbeddedService]) -> str:
        if self.directory is None:
            self.directory, self.lock = make_session_directory()
        service = kind(self.directory / kind.name.lower(), durable=False)
        self.running.append(service)
        return service.start()


def wait_for_template() -> str | None:
    """Return the database to copy when its migrations are through; None where there is none.

    Raises:
        RuntimeError: they failed.
    """
    path = os.environ.get(TEMPLATE_LOCK)
    if path is None:
        return None
    with Path(path).open() as log:
        fcntl.flock(log, fcntl.LOCK_SH)
        said = log.read()
    if not said.endswith("done\n"):
        raise RuntimeError(f"The migrations failed:\n{said}")
    return TEMPLATE


def make_session_directory() -> tuple[Path, IO[str]]:
    """Create the directory of this process; the lock held on a file beside it says that it is in use."""
    root = choose_root()
    sweep(root)
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    lock = lock_path(directory).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return directory, lock


def choose_root() -> Path:
    """Return memory when there is room in it, else the temporary directory."""
    has_room = os.access(SHARED_MEMORY, os.W_OK) and shutil.disk_usage(SHARED_MEMORY).free >= NEEDED_BYTES
    return SHARED_MEMORY if has_room else Path(tempfile.gettempdir())


def lock_path(directory: Path) -> Path:
    """Return the lock file of a session directory."""
    return directory / "lock"


def sweep(root: Path) -> None:
    """Remove our directories whose process is gone."""
    for directory in root.glob(f"{PREFIX}*"):
        if directory.stat().st_uid != os.geteuid():
            continue
        try:
            with lock_path(directory).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
        except OSError:
            continue


SERVICES = SessionServices()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Start the servers before anybody reads settings."""
    if not (early_config.known_args_namespace.help or early_config.known_args_namespace.version):
        SERVICES.start()
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Stop the servers after everybody has closed their connections."""
    SERVICES.stop()
