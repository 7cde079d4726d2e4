"""One supervised process: started, read, restarted with growing patience, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Protocol

from apps.core.embedded.processes import ProcessIdentity
from apps.core.supervisor.output import LineBuffer, Output

FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 30.0
# A child that lived this long was well: its next death starts the patience anew. Programs that cannot start end sooner;
# those that are killed now and then are to be back at once.
WELL_AFTER_SECONDS = 5.0
READ_BYTES = 65536


class Process(Protocol):
    """What is needed of a process, started anew or forked."""

    @property
    def pid(self) -> int:
        """Return the process id."""

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, None while the process runs."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal to the process alone."""

    def kill(self) -> None:
        """End the process at once."""


Spawn = Callable[[int], Process]


class Child:
    """A process that should run until told otherwise.

    `spawn` starts it with the given descriptor as its output. `owns_group` says that the process leads a group whose
    members are to die with it.
    """

    def __init__(
        self,
        name: str,
        spawn: Spawn,
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        owns_group: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.stop_signal = stop_signal
        self.owns_group = owns_group
        self.process: Process | None = None
        self.identity: ProcessIdentity | None = None
        self.output_fd: int | None = None
        self.restart_at: float | None = None
        self._spawn = spawn
        self._clock = clock
        self._lines = LineBuffer()
        self._started_at = 0.0
        self._failures = 0

    @property
    def is_running(self) -> bool:
        """Say whether the process was started and its end not yet noticed."""
        return self.process is not None

    def start(self) -> None:
        """Start the process."""
        self.restart_at = None
        self._started_at = self._clock()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            self.process = self._spawn(writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.identity = ProcessIdentity.of(self.process.pid)
        self.output_fd = reading

    def let_go(self) -> None:
        """Close, in a copy of the supervisor, what belongs to the supervisor."""
        if self.output_fd is not None:
            os.close(self.output_fd)
            self.output_fd = None

    def read_output(self, output: Output) -> bool:
        """Pass on what the process said; return False at the end of its output."""
        if self.output_fd is None:
            return False
        try:
            received = os.read(self.output_fd, READ_BYTES)
        except BlockingIOError:
            return True
        output.write_lines(self.name, self._lines.feed(received) if received else self._lines.finish())
        return bool(received)

    def close_output(self, output: Output) -> None:
        """Pass on the rest and forget the pipe."""
        if self.output_fd is None:
            return
        while self._has_more(output):
            pass
        os.close(self.output_fd)
        self.output_fd = None

    def _has_more(self, output: Output) -> bool:
        assert self.output_fd is not None
        with contextlib.suppress(BlockingIOError):
            received = os.read(self.output_fd, READ_BYTES)
            output.write_lines(self.name, self._lines.feed(received))
            if received:
                return True
        output.write_lines(self.name, self._lines.finish())
        return False

    def notice_end(self) -> int | None:
        """Return the exit code if the process has ended since the last look; then it counts as not running."""
        if self.process is None:
            return None
        code = self.process.poll()
        if code is None:
            return None
        if self.owns_group:
            self._signal_group(signal.SIGKILL)  # what it started must not go on without it
        self.process = self.identity = None
        return code

    def schedule_restart(self) -> float:
        """Set the time of the next start and return the seconds until then: 1, 2, 4 … 30 for deaths in a row."""
        now = self._clock()
        if now - self._started_at >= WELL_AFTER_SECONDS:
            self._failures = 0
        delay = min(FIRST_DELAY_SECONDS * 2**self._failures, LONGEST_DELAY_SECONDS)
        self._failures += 1
        self.restart_at = now + delay
        return delay

    def is_due(self) -> bool:
        """Say whether the time of the scheduled restart has come."""
        return self.restart_at is not None and self._clock() >= self.restart_at

    def ask_to_stop(self) -> None:
        """Send the signal upon which the process ends in good order."""
        self.restart_at = None
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(self.stop_signal)

    def kill(self) -> None:
        """End the process, and its group if it leads one, at once."""
        if self.process is None:
            return
        if self.owns_group:
            self._signal_group(signal.SIGKILL)
        self.process.kill()

    def _signal_group(self, number: signal.Signals) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def describe_exit(code: int) -> str:
    """Return how a process ended, in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
