"""The Postgres and Redis of the test session, as a pytest plugin (`-p tests.support.services`).

A plugin and not a conftest, because settings read the environment before any conftest is loaded. One Postgres serves
the whole session: pytest-django gives every xdist worker a database of its own in it. Every worker runs a Redis of its
own, because Pub/Sub and FLUSHALL know no logical databases.

The servers' data lies in memory where there is room, and nothing outlives the session: the kernel ends the servers
with their pytest process, and the directories of a killed session are swept by the next one.

`PORTICO_TEST_DATABASE_URL` and `PORTICO_TEST_REDIS_URL` name servers to use instead; the role needs CREATEDB and
`vector` in template1, and each worker takes one logical database of the Redis.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO

import pytest

from apps.core.embedded import EmbeddedPostgres, EmbeddedRedis
from apps.core.embedded.service import EmbeddedService

PREFIX = "portico-test-"
SHARED_MEMORY = Path("/dev/shm")
NEEDED_BYTES = 1024**3


class SessionServices:
    """The servers that this pytest process started."""

    def __init__(self) -> None:
        self.running: list[EmbeddedService] = []
        self.directory: Path | None = None
        self.lock: IO[str] | None = None

    def start(self) -> None:
        """Start what this process needs and put the URLs where settings look for them."""
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        if not worker:
            os.environ["DATABASE_URL"] = os.environ.get("PORTICO_TEST_DATABASE_URL") or self._run(EmbeddedPostgres)
        os.environ["REDIS_URL"] = self._find_redis_url(worker)
        os.environ["CELERY_BROKER_URL"] = os.environ["REDIS_URL"]

    def stop(self) -> None:
        """Stop the servers and remove their data."""
        for service in self.running:
            service.stop()
        self.running.clear()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

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
