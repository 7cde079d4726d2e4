"""The loop: it starts, watches, revives and stops, and speaks of it."""

import io
import os
import signal
import socket
import subprocess
import threading

import pytest

from apps.core.supervisor import supervisor as supervising
from apps.core.supervisor.child import Child
from apps.core.supervisor.forking import ForkedProcess
from apps.core.supervisor.health import HealthProbe
from apps.core.supervisor.output import Output
from apps.core.supervisor.supervisor import Supervisor

LAST = "exec sleep 60"


def make_child(name, script):
    def spawn(output_fd):
        return subprocess.Popen(["sh", "-c", script], stdout=output_fd, stderr=output_fd, start_new_session=True)

    return Child(name, spawn)


class Log(io.BytesIO):
    """A log that sends us a signal once it holds all of the awaited words."""

    def __init__(self, *awaited, number=signal.SIGTERM):
        super().__init__()
        self.awaited = awaited
        self.number = number
        self.has_fired = False

    def write(self, data):
        super().write(data)
        if not self.has_fired and all(word in self.getvalue() for word in self.awaited):
            self.has_fired = True
            os.kill(os.getpid(), self.number)

    @property
    def lines(self):
        return self.getvalue().decode().splitlines()


def run(log, *, programs, services=(), probe=None, announce=lambda: None):
    remembered = []
    supervisor = Supervisor(
        services=services,
        output=Output(log, color=False),
        remember=lambda children: remembered.append([child.name for child in children if child.is_running]),
    )
    for service in services:
        service.start()
    supervisor.run(programs, probe=probe, announce=announce)
    return remembered


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("apps.core.supervisor.child.FIRST_DELAY_SECONDS", 0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_and_its_handler_is_given_back(number):
    before = signal.getsignal(number)
    log = Log(b"web      | served", number=number)
    remembered = run(log, programs=[make_child("web", f"echo served; {LAST}"), make_child("relay", LAST)])
    assert remembered == [["web"], ["web", "relay"]]
    assert log.lines == ["web      | served", "up       | stopping", "up       | stopped"]
    assert signal.getsignal(number) == before


def test_what_dies_is_started_again_and_told_of(tmp_path):
    script = f"echo born; [ -e {tmp_path}/second ] && {LAST}; touch {tmp_path}/second; exit 3"
    log = Log(b"born\n", b"web ended with code 3; starting it again in 0.02 s\nweb      | born\n")
    run(log, programs=[make_child("web", script)])
    assert log.lines[0] == "web      | born"
    assert log.lines[1] == "up       | web ended with code 3; starting it again in 0.02 s"
    assert log.lines[2] == "web      | born"


def test_a_copy_of_the_supervisor_lets_go_of_what_is_not_its_own():
    """Closed in the copy, open in the supervisor: it goes on and ends as ever."""
    read, write = os.pipe()
    holder = []

    def spawn(output_fd):
        pid = os.fork()
        if pid == 0:
            before = set(os.listdir("/proc/self/fd"))
            os.close(output_fd)
            holder[0].let_go()
            after = set(os.listdir("/proc/self/fd"))
            os.write(write, f"{len(before) - len(after)}\n".encode())
            os._exit(0)
        return ForkedProcess(pid)

    log = Log(b"relay ended with code 0")
    holder.append(Supervisor(services=(), output=Output(log, color=False), remember=lambda children: None))
    holder[0].run([make_child("web", LAST), Child("relay", spawn)], probe=None, announce=lambda: None)
    # the output of web, the pair that wakes, what the selector holds, and the copy's own end of its output
    assert int(os.read(read, 16).split()[0]) == 5
    os.close(read)
    os.close(write)


def test_a_service_is_revived_like_a_program(tmp_path):
    script = f"[ -e {tmp_path}/second ] && echo again && {LAST}; touch {tmp_path}/second; kill -9 $$"
    log = Log(b"postgres | again")
    run(log, programs=[], services=[make_child("postgres", script)])
    assert "up       | postgres was ended by SIGKILL; starting it again in 0.02 s" in log.lines


def test_what_cannot_start_is_tried_again():
    attempts = []

    def spawn(output_fd):
        attempts.append(output_fd)
        if len(attempts) < 3:
            raise OSError("not yet")
        return subprocess.Popen(["sh", "-c", f"echo born; {LAST}"], stdout=output_fd, start_new_session=True)

    log = Log(b"born")
    run(log, programs=[Child("web", spawn)])
    assert log.lines[:3] == [
        "up       | web does not start (not yet); trying again in 0.02 s",
        "up       | web does not start (not yet); trying again in 0.04 s",
        "web      | born",
    ]


def test_programs_are_gone_before_services_are_asked():
    program = make_child("web", "trap 'echo web leaves; exit' TERM; echo ready; while :; do sleep 0.01; done")
    service = make_child("redis", "trap 'echo redis leaves; exit' TERM; echo ready; while :; do sleep 0.01; done")
    log = Log(b"web      | ready", b"redis    | ready")
    run(log, programs=[program], services=[service])
    assert log.lines[-4:] == [
        "up       | stopping",
        "web      | web leaves",
        "redis    | redis leaves",
        "up       | stopped",
    ]


STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.01; done"


def test_who_does_not_obey_in_time_is_killed(monkeypatch):
    monkeypatch.setattr(supervising, "PROGRAMS_STOP_SECONDS", 0.1)
    log = Log(b"ready")
    run(log, programs=[make_child("web", STUBBORN), make_child("relay", LAST)])
    assert log.lines[-3:] == [
        "up       | stopping",
        "up       | web does not end in time; killing it",
        "up       | stopped",
    ]


def test_asking_again_and_again_hurries(monkeypatch):
    log = Log(b"ready")
    impatience = [threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)) for delay in (0.05, 0.1)]
    child = make_child("web", STUBBORN)
    ask = child.ask_to_stop

    def ask_and_lose_patience():
        ask()
        for timer in impatience:
            timer.start()

    child.ask_to_stop = ask_and_lose_patience
    run(log, programs=[child])
    assert "up       | web does not end in time; killing it" in log.lines
    assert not child.is_running


def test_the_limits_leave_room_below_ten_seconds():
    assert supervising.PROGRAMS_STOP_SECONDS < supervising.ALL_STOP_SECONDS < 10


def test_without_a_probe_the_announcement_comes_at_once():
    log = Log()
    run(log, programs=[], announce=lambda: log.write(b"announced\n"))
    assert log.lines[0] == "announced"


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def serve(server, answers):
    for answer in answers:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)


def test_the_announcement_waits_for_health():
    with socket.create_server(("127.0.0.1", 0)) as server:
        answers = [b"", b"HTTP/1.1 503 Service Unavailable\r\n\r\n", ANSWER]
        thread = threading.Thread(target=serve, args=(server, answers), daemon=True)
        thread.start()
        log = Log(b"announced")
        run(
            log,
            programs=[make_child("web", LAST)],
            probe=HealthProbe("127.0.0.1", server.getsockname()[1]),
            announce=lambda: log.write(b"announced\n"),
        )
        thread.join(timeout=5)
        assert not thread.is_alive()
    assert log.lines[0] == "announced"
