"""The part of `manage.py` that runs before settings exist: `up` takes its premises, other commands borrow from them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

from apps.core.embedded import EmbeddedPostgres, EmbeddedRedis
from apps.core.secrets import find_secrets
from apps.core.supervisor.options import parse_early
from apps.core.supervisor.output import Output
from apps.core.supervisor.premises import Plan, Premises

HELP_FLAGS = frozenset({"-h", "--help", "--version"})


class StartEnvironment(Protocol):
    """What this module reads of the typed environment."""

    data_dir: Path
    host: str
    port: int
    web_concurrency: int
    database_url: str
    redis_url: str


class Stage:
    """Holds the premises between `manage.py`, which takes them, and the command `up`, which uses them."""

    premises: Premises | None = None
    is_asked_to_stop = False


@contextmanager
def prepare_command(arguments: Sequence[str], environment: StartEnvironment) -> Iterator[None]:
    """Make ready what the command needs before Django is set up, and clean up behind it.

    Raises:
        StartError: `up` cannot have its data directory, its port or its services.
    """
    if list(arguments[:1]) != ["up"]:
        lend_environment(environment)
        yield
    elif HELP_FLAGS.intersection(arguments):
        yield
    else:
        Stage.is_asked_to_stop = False
        signal.signal(signal.SIGTERM, _leave_in_good_order)
        premises = Premises(plan_start(arguments[1:], environment), Output())
        with premises:
            Stage.premises = premises
            try:
                yield
            finally:
                Stage.premises = None


def plan_start(arguments: Sequence[str], environment: StartEnvironment) -> Plan:
    """Return what command line and environment ask for together."""
    options = parse_early(list(arguments))
    return Plan(
        data_dir=environment.data_dir,
        host=environment.host,
        port=options.port or environment.port,
        web_concurrency=environment.web_concurrency,
        programs=options.only,
        database_url=environment.database_url,
        redis_url=environment.redis_url,
    )


def lend_environment(environment: StartEnvironment) -> None:
    """Let a command work beside a running `up`: same secrets, same embedded services. Nothing is created."""
    found = find_secrets(environment.data_dir)
    lent: dict[str, str | None] = {**found.as_environment()} if found else {}
    if not environment.database_url:
        lent["DATABASE_URL"] = EmbeddedPostgres(environment.data_dir / "postgres").recall_url()
    if not environment.redis_url:
        lent["REDIS_URL"] = EmbeddedRedis(environment.data_dir / "redis").recall_url()
    for name, value in lent.items():
        if value:
            os.environ.setdefault(name, value)


def _leave_in_good_order(number: int, frame: FrameType | None) -> None:
    """Turn a signal into an exit that runs every clean-up; where the exit is swallowed, the wish stays known."""
    Stage.is_asked_to_stop = True
    sys.exit(128 + number)
