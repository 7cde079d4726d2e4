"""Start a program as a copy of the supervisor, which has everything loaded already.

Loading the product costs each process seconds; a copy is ready at once and shares the memory. A copy is only sound
while the supervisor has a single thread and neither database nor Redis connections, and only Linux's libraries put up
with it: elsewhere, and whenever a thread has appeared, programs are started from the beginning.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from django.core.management import CommandError, call_command
from setproctitle import setproctitle

from apps.core.embedded.processes import IS_LINUX, die_with_parent
from apps.core.supervisor.errors import StartError

HANDLED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
POLL_SECONDS = 0.01


class ForkedProcess:
    """What the supervisor needs of `subprocess.Popen`, for a child that was forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, None while the child runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send the signal, unless the child is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the child at once."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float) -> int:
        """Return the exit code; raise TimeoutError when the child still runs after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} still runs after {timeout:g} s")
            time.sleep(POLL_SECONDS)
        return code


def can_fork() -> bool:
    """Say whether a copy of this process would be sound: Linux, and no thread but this one."""
    return IS_LINUX and len(list(Path("/proc/self/task").iterdir())) == 1


def run_in_copy(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `work` returns, a JSON object. Where that is sound it is done in a copy of this process.

    What the work takes of memory then goes with the copy, instead of staying with every program that is copied later.

    Raises:
        StartError: `work` raised one, or the copy ended without an answer; its traceback is on stderr.
    """
    if not can_fork():
        return work()
    arm = die_with_parent(signal.SIGKILL)
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        # Not covered: the copy's tracer starts anew and does not see the frames it was copied with.
        _answer(work, reading, writing, arm)  # pragma: no cover
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as answer:
            told = answer.read()
    except BaseException:  # a signal: whoever leaves now must not leave the work running
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.waitpid(pid, 0)
    if not told:
        raise StartError("Getting ready failed; what is above says why.")
    found: dict[str, Any] = json.loads(told)
    if "refusal" in found:
        raise StartError(found["refusal"])
    return found


def _answer(work: Callable[[], dict[str, Any]], reading: int, writing: int, arm: Callable[[], None] | None) -> NoReturn:
    """Do the work in the copy and tell what came of it; it never returns into the supervisor's frames."""
    try:
        os.close(reading)
        if arm is not None:
            arm()
        try:
            told = work()
        except StartError as error:
            told = {"refusal": str(error)}
        with os.fdopen(writing, "wb") as answer:
            answer.write(json.dumps(told).encode())
    except (KeyboardInterrupt, SystemExit):
        pass  # the supervisor was told, too
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def fork_command(arguments: Sequence[str], *, title: str, output_fd: int, let_go: Callable[[], None]) -> ForkedProcess:
    """Run a management command in a copy of this process, with `output_fd` as its output.

    `let_go` runs in the copy first: it closes what belongs to the supervisor alone.
    """
    arm = die_with_parent(signal.SIGTERM)
    sys.stdout.flush()
    sys.stderr.flush()
    with _signals_held():
        pid = os.fork()
        if pid == 0:
            # Not covered: the copy's tracer starts anew and does not see the frames it was copied with.
            _become(arguments, title=title, output_fd=output_fd, let_go=let_go, arm=arm)  # pragma: no cover
    return ForkedProcess(pid)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back until the copy has its own handlers, so that none is taken for the supervisor's."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _become(
    arguments: Sequence[str], *, title: str, output_fd: int, let_go: Callable[[], None], arm: Callable[[], None] | None
) -> NoReturn:
    """Turn the copy into a program of its own; it never returns into the supervisor's frames."""
    code = 1
    try:
        _detach(output_fd)
        let_go()
        if arm is not None:
            arm()
        setproctitle(title)
        code = run_command(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        logging.shutdown()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _detach(output_fd: int) -> None:
    """Leave the supervisor's session, signals and streams behind."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in HANDLED_SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
    silence = os.open(os.devnull, os.O_RDONLY)
    os.dup2(silence, 0)
    os.dup2(output_fd, 1)
    os.dup2(output_fd, 2)
    os.close(silence)
    os.close(output_fd)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def run_command(arguments: Sequence[str]) -> int:
    """Run a management command and return its exit code."""
    try:
        call_command(*arguments)
    except CommandError as error:
        sys.stderr.write(f"{error}\n")
        return error.returncode
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as request:
        return request.code if isinstance(request.code, int) else int(request.code is not None)
    return 0
