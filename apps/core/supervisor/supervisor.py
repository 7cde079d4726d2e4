"""The loop that keeps the children alive: signals, their output, their deaths and restarts, in one thread."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from apps.core.supervisor.child import Child, describe_exit
from apps.core.supervisor.health import HealthProbe
from apps.core.supervisor.output import Output

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# `up` promises to be gone within ten seconds; what the programs leave of them is the services'.
PROGRAMS_STOP_SECONDS = 6.5
ALL_STOP_SECONDS = 9.5
PROBE_PAUSE_SECONDS = 0.2


class Supervisor:
    """Runs services (stopped last) and programs (stopped first) until a signal ends it all."""

    def __init__(
        self,
        *,
        services: Sequence[Child],
        output: Output,
        remember: Callable[[Sequence[Child]], None],
    ) -> None:
        self.services = list(services)
        self.programs: list[Child] = []
        self.output = output
        self.is_stopping = False
        self._remember = remember
        self._wishes = 0
        self._wake_ends: tuple[socket.socket, ...] = ()
        self._selector = selectors.DefaultSelector()

    def run(self, programs: Sequence[Child], *, probe: HealthProbe | None, announce: Callable[[], None]) -> None:
        """Start the programs, call `announce` once /health answers, and return when all children have ended."""
        self.programs = list(programs)
        with self._listen_to_signals():
            for child in self.services:
                self._watch(child)
            for child in self.programs:
                self._start(child)
            if probe is None:
                announce()
            while not self._wishes:
                if probe is not None:
                    probe = self._ask(probe, announce)
                self._turn(PROBE_PAUSE_SECONDS if probe is not None else 1.0, probe)
                self._revive()
            self.stop()

    def let_go(self) -> None:
        """Close, in a copy of this process, what only the supervisor itself may hold."""
        for child in (*self.services, *self.programs):
            child.let_go()
        self._selector.close()
        for end in self._wake_ends:
            end.close()

    def stop(self) -> None:
        """Stop the programs, then the services; who does not obey in time is killed."""
        self.is_stopping = True
        self.output.say("stopping")
        begun = time.monotonic()
        self._stop_all(self.programs, PROGRAMS_STOP_SECONDS)
        self._stop_all(self.services, ALL_STOP_SECONDS - (time.monotonic() - begun))
        self.output.say("stopped")

    @contextlib.contextmanager
    def _listen_to_signals(self) -> Iterator[None]:
        self._wake_ends = waking, woken = socket.socketpair()
        for end in self._wake_ends:
            end.setblocking(False)
        self._selector.register(woken, selectors.EVENT_READ)
        previous_fd = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, self._take_wish) for number in STOP_SIGNALS}
        handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_fd)
            self._selector.close()
            for end in self._wake_ends:
                end.close()

    def _take_wish(self, number: int, frame: FrameType | None) -> None:
        self._wishes += 1

    def _turn(self, timeout_seconds: float, probe: HealthProbe | None = None) -> None:
        """Wait for something to happen and take it in."""
        with self._watching(probe):
            for key, _ in self._selector.select(self._shorten(timeout_seconds)):
                if isinstance(key.data, Child):
                    if not key.data.read_output(self.output):
                        self._unwatch(key.data)
                elif isinstance(key.data, HealthProbe):
                    key.data.read()
                else:
                    key.fileobj.recv(4096)  # type: ignore[union-attr]

    @contextlib.contextmanager
    def _watching(self, probe: HealthProbe | None) -> Iterator[None]:
        descriptor = probe.fileno() if probe is not None else None
        if descriptor is None:
            yield
            return
        self._selector.register(descriptor, selectors.EVENT_READ, probe)
        try:
            yield
        finally:
            self._selector.unregister(descriptor)

    def _shorten(self, timeout_seconds: float) -> float:
        times = [child.restart_at for child in (*self.services, *self.programs) if child.restart_at is not None]
        return max(0.0, min([timeout_seconds, *(moment - time.monotonic() for moment in times)]))

    def _ask(self, probe: HealthProbe, announce: Callable[[], None]) -> HealthProbe | None:
        if probe.is_done:
            announce()
            return None
        probe.begin()
        return probe

    def _revive(self) -> None:
        """Notice deaths, plan the next start, and start what is due."""
        for child in (*self.services, *self.programs):
            code = child.notice_end()
            if code is not None:
                self._unwatch(child)
                delay = child.schedule_restart()
                self.output.say(f"{child.name} {describe_exit(code)}; starting it again in {delay:g} s")
            if child.is_due() and not self._wishes:
                self._start(child)

    def _start(self, child: Child) -> None:
        try:
            child.start()
        except OSError as error:
            delay = child.schedule_restart()
            self.output.say(f"{child.name} does not start ({error}); trying again in {delay:g} s")
            return
        self._watch(child)
        self._remember([*self.services, *self.programs])

    def _watch(self, child: Child) -> None:
        assert child.output_fd is not None, "only what was started is watched"
        self._selector.register(child.output_fd, selectors.EVENT_READ, child)

    def _unwatch(self, child: Child) -> None:
        if child.output_fd is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.output_fd)
            child.close_output(self.output)

    def _stop_all(self, children: Sequence[Child], within_seconds: float) -> None:
        deadline = time.monotonic() + within_seconds
        for child in children:
            child.ask_to_stop()
        patience = self._wishes + 1  # somebody who asks twice more means it
        while self._reap(children):
            remaining = deadline - time.monotonic()
            if remaining <= 0 or self._wishes > patience:
                for child in children:
                    if child.is_running:
                        self.output.say(f"{child.name} does not end in time; killing it")
                        child.kill()
                deadline, patience = time.monotonic() + within_seconds, self._wishes + 1
            self._turn(min(max(remaining, 0.0), 0.5))

    def _reap(self, children: Sequence[Child]) -> bool:
        """Notice who has ended; return whether somebody still runs."""
        for child in children:
            if child.notice_end() is not None:
                self._unwatch(child)
        return any(child.is_running for child in children)
