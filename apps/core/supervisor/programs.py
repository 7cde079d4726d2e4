"""The product's own processes and the commands that run them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from apps.core.embedded.processes import die_with_parent
from apps.core.supervisor.child import Child
from apps.core.supervisor.premises import Premises

BASE_DIR = Path(__file__).resolve().parents[3]
MANAGE = str(BASE_DIR / "manage.py")
# What takes Celery seconds at its start and is of use only between many workers.
WORKER_OPTIONS = ("--without-gossip", "--without-mingle", "--without-heartbeat")
MOST_WORKER_PROCESSES = 4


def build_programs(premises: Premises) -> list[Child]:
    """Return the children that the plan asks for, the web processes first."""
    plan = premises.plan
    children: list[Child] = []
    for program in plan.programs:
        if program == "web":
            children += _build_web(premises)
        else:
            children.append(_build_child(program, build_command(program)))
    return children


def build_command(program: str) -> list[str]:
    """Return the command line of a program other than web."""
    # Root is warned at every start; who runs containers knows.
    celery = [
        sys.executable,
        "-W",
        "ignore::RuntimeWarning:celery.platforms",
        "-m",
        "celery",
        "--quiet",
        "-A",
        "project",
    ]
    processes = min(os.cpu_count() or 1, MOST_WORKER_PROCESSES)
    return {
        "worker": [*celery, "worker", "--loglevel=WARNING", f"--concurrency={processes}", *WORKER_OPTIONS],
        "beat": [*celery, "beat", "--loglevel=WARNING", "--pidfile="],
        "relay": [sys.executable, MANAGE, "relay", "--skip-checks"],
    }[program]


def _build_web(premises: Premises) -> list[Child]:
    assert premises.listener is not None
    descriptor = premises.listener.fileno()
    command = [sys.executable, MANAGE, "web", f"--fd={descriptor}", "--skip-checks"]
    count = premises.plan.web_concurrency
    names = ["web"] if count == 1 else [f"web.{number}" for number in range(1, count + 1)]
    return [_build_child(name, command, pass_fds=(descriptor,)) for name in names]


def _build_child(name: str, command: list[str], pass_fds: tuple[int, ...] = ()) -> Child:
    def spawn(output_fd: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603
            command,
            cwd=BASE_DIR,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output_fd,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            start_new_session=True,  # Ctrl-C is ours to pass on
            preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 -- one system call, no locks
        )

    return Child(name, spawn)
