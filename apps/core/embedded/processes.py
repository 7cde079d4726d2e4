"""Child processes that never outlive their reason, and proof that a process id still means the same process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

IS_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if IS_LINUX else None


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return a `preexec_fn` that has the kernel send `number` to the child when this process dies, even by kill -9.

    Only Linux offers this; elsewhere the answer is None and leftovers are ended by the next start. The signal is tied
    to the thread that starts the child, so start children from the main thread.
    """
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the kernel knew our wish
            os.kill(os.getpid(), number)

    return arm


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process id and the moment it started: together they are never reused."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """Return the identity of a process, None when there is none or only its zombie."""
        started = _read_start(pid)
        return cls(pid, started) if started else None

    def is_alive(self) -> bool:
        """Say whether this very process still runs."""
        return _read_start(self.pid) == self.started

    def end(self, number: signal.Signals, *, within_seconds: float, group: bool = False) -> bool:
        """Send the signal and wait; return whether the process is gone."""
        deadline = time.monotonic() + within_seconds
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def _read_start(pid: int) -> str:
    if IS_LINUX:
        try:
            # The command in parentheses may hold spaces and parentheses; what follows it may not.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        state, started = fields[0], fields[19]
    else:
        answer = _ask_ps(pid, "stat=,lstart=")
        state, _, started = answer.partition(" ")
    return "" if not state or state.startswith(("Z", "X")) else started.strip()


def read_command(pid: int) -> str:
    """Return the name of the program a process runs, "" when it cannot be told."""
    if IS_LINUX:
        try:
            return Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return ""
    return Path(_ask_ps(pid, "comm=")).name


def read_working_dir(pid: int) -> Path | None:
    """Return the directory a process works in, None when it cannot be told."""
    if IS_LINUX:
        try:
            return Path(f"/proc/{pid}/cwd").readlink()
        except OSError:
            return None
    # lsof is part of macOS and the BSDs; its answer has one field a line, the name's starts with an n.
    names = [line[1:] for line in _ask(["lsof", "-a", "-p", str(pid), "-d", "cwd", "-Fn"]) if line.startswith("n")]
    return Path(names[0]) if names else None


def is_process_of(pid: int, *, command: str, directory: Path) -> bool:
    """Say whether the process runs `command` in `directory`."""
    return read_command(pid) == command and read_working_dir(pid) == directory.resolve()


def find_processes_in(directory: Path) -> list[int]:
    """Return the processes that work in `directory`; none where the system does not list them."""
    wanted = directory.resolve()
    numbers = (int(entry.name) for entry in Path("/proc").glob("[0-9]*")) if IS_LINUX else iter(())
    return [pid for pid in numbers if read_working_dir(pid) == wanted]


def _ask_ps(pid: int, columns: str) -> str:
    return " ".join(_ask(["ps", "-o", columns, "-p", str(pid)])).strip()


def _ask(command: list[str]) -> list[str]:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return []
    return answer.stdout.splitlines()
