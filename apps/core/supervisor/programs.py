"""The product's own processes and how they are started."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import connection, connections
from django.urls import get_resolver
from django.utils.module_loading import import_string

from apps.core.embedded.processes import die_with_parent
from apps.core.redis import get_redis
from apps.core.supervisor.child import Child, Process
from apps.core.supervisor.forking import can_fork, fork_command
from apps.core.supervisor.premises import Premises

BASE_DIR = Path(__file__).resolve().parents[3]
MANAGE = str(BASE_DIR / "manage.py")
# What `ps` shows: the command, and the names under which people look for it.
TITLES = {
    "web": "portico: manage.py web (uvicorn project.asgi:application)",
    "worker": "portico: manage.py worker (celery worker)",
    "beat": "portico: manage.py beat (celery beat)",
    "relay": "portico: manage.py relay",
}

LetGo = Callable[[], None]


def get_ready_to_fork(programs: tuple[str, ...]) -> None:
    """Load what the programs need and close what must not be shared with them."""
    if "web" in programs:
        import_string(settings.ASGI_APPLICATION)
        _ = get_resolver().url_patterns
        for path in settings.LOADED_BEFORE_FORK:
            import_string(path)()
    connections.close_all()
    connection.close_pool()  # type: ignore[attr-defined]  # its threads and connections are of no use to a supervisor
    get_redis().connection_pool.disconnect()
    gc.collect()
    gc.freeze()  # what is loaded now stays shared


def build_programs(premises: Premises, let_go: LetGo) -> list[Child]:
    """Return the children that the plan asks for, the web processes first.

    `let_go` closes in a copy of the supervisor what the copy must not hold, the listening socket excepted.
    """
    children: list[Child] = []
    for program in premises.plan.programs:
        if program == "web":
            children += _build_web(premises, let_go)
        else:
            children.append(Child(program, _build_spawn(program, [program], let_go=_and_listener(premises, let_go))))
    return children


def _build_web(premises: Premises, let_go: LetGo) -> list[Child]:
    assert premises.listener is not None
    descriptor = premises.listener.fileno()
    spawn = _build_spawn("web", ["web", f"--fd={descriptor}"], let_go=let_go, pass_fds=(descriptor,))
    count = premises.plan.web_concurrency
    names = ["web"] if count == 1 else [f"web.{number}" for number in range(1, count + 1)]
    return [Child(name, spawn) for name in names]


def _and_listener(premises: Premises, let_go: LetGo) -> LetGo:
    def let_go_of_all() -> None:
        let_go()
        if premises.listener is not None:
            premises.listener.close()

    return let_go_of_all


def _build_spawn(
    program: str, arguments: list[str], *, let_go: LetGo, pass_fds: tuple[int, ...] = ()
) -> Callable[[int], Process]:
    def spawn(output_fd: int) -> Process:
        if can_fork():
            return fork_command(arguments, title=TITLES[program], output_fd=output_fd, let_go=let_go)
        return subprocess.Popen(  # noqa: S603
            [sys.executable, MANAGE, *arguments, "--skip-checks"],
            cwd=BASE_DIR,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output_fd,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            start_new_session=True,  # Ctrl-C is ours to pass on
            preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 -- one system call, no locks
        )

    return spawn
