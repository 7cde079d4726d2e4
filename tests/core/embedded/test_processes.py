"""A process is its id and its start; children do not outlive their parent."""

import os
import signal
import subprocess
import sys

import pytest

from apps.core.embedded import processes
from apps.core.embedded.processes import (
    ProcessIdentity,
    die_with_parent,
    find_processes_in,
    is_process_of,
    read_command,
    read_working_dir,
)
from tests.support.waiting import wait_until

on_linux = pytest.mark.skipif(not processes.IS_LINUX, reason="the kernel's help is Linux's")


@pytest.fixture
def sleeper(tmp_path):
    process = subprocess.Popen(["sleep", "60"], cwd=tmp_path, start_new_session=True)
    # The kernel names the process a moment after it has told us of the start.
    wait_until(lambda: read_command(process.pid) == "sleep")
    yield process
    process.kill()
    process.wait()


def test_an_identity_holds_while_the_process_lives(sleeper):
    identity = ProcessIdentity.of(sleeper.pid)
    assert identity is not None
    assert identity.is_alive()


def test_a_process_that_ended_has_no_identity_not_even_as_a_zombie(sleeper):
    identity = ProcessIdentity.of(sleeper.pid)
    sleeper.kill()
    assert identity.end(signal.SIGKILL, within_seconds=5)  # the zombie counts as gone
    assert ProcessIdentity.of(sleeper.pid) is None


def test_the_same_id_with_another_start_is_another_process_and_is_not_hit(sleeper):
    stranger = ProcessIdentity(sleeper.pid, "1")
    assert not stranger.is_alive()
    assert stranger.end(signal.SIGKILL, within_seconds=1)
    assert sleeper.poll() is None


def test_a_process_that_ignores_the_signal_is_reported(tmp_path):
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as stubborn:
        stubborn.stdout.readline()
        identity = ProcessIdentity.of(stubborn.pid)
        assert not identity.end(signal.SIGTERM, within_seconds=0.2)
        assert identity.end(signal.SIGKILL, within_seconds=5, group=True)


def test_a_process_is_known_by_program_and_directory(sleeper, tmp_path):
    assert read_command(sleeper.pid) == "sleep"
    assert read_working_dir(sleeper.pid) == tmp_path
    assert is_process_of(sleeper.pid, command="sleep", directory=tmp_path)
    assert not is_process_of(sleeper.pid, command="postgres", directory=tmp_path)
    assert not is_process_of(sleeper.pid, command="sleep", directory=tmp_path.parent)


@on_linux
def test_the_processes_in_a_directory_are_found(sleeper, tmp_path):
    assert find_processes_in(tmp_path) == [sleeper.pid]
    assert find_processes_in(tmp_path / "other") == []


def test_nothing_is_known_of_a_process_that_never_was():
    assert read_command(0) == ""
    assert read_working_dir(0) is None
    assert ProcessIdentity.of(0) is None


PARENT = """
import os, signal, subprocess, sys
from apps.core.embedded.processes import die_with_parent
child = subprocess.Popen(["sleep", "60"], preexec_fn=die_with_parent(signal.SIGTERM), stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@on_linux
def test_a_child_dies_with_its_killed_parent():
    parent = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, check=False)
    assert parent.returncode == -signal.SIGKILL
    wait_until(lambda: ProcessIdentity.of(int(parent.stdout)) is None)


@on_linux
def test_a_child_whose_parent_died_before_it_could_ask_ends_itself(monkeypatch):
    asked, sent = [], []

    class Kernel:
        @staticmethod
        def prctl(*arguments):
            asked.append(arguments)

    monkeypatch.setattr(processes, "_libc", Kernel)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    arm = die_with_parent(signal.SIGTERM)
    arm()
    assert asked == [(1, signal.SIGTERM, 0, 0, 0)]
    assert sent == [(os.getpid(), signal.SIGTERM)]


@on_linux
def test_a_child_whose_parent_lives_goes_on(monkeypatch):
    sent = []
    monkeypatch.setattr(processes, "_libc", type("Kernel", (), {"prctl": staticmethod(lambda *arguments: 0)}))
    monkeypatch.setattr(os, "getppid", os.getpid)
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(pid))
    die_with_parent(signal.SIGTERM)()
    assert sent == []


def test_elsewhere_nothing_is_asked_of_the_kernel(monkeypatch):
    monkeypatch.setattr(processes, "_libc", None)
    assert die_with_parent(signal.SIGTERM) is None


class TestElsewhere:
    """Without /proc the same is asked of ps and lsof."""

    @pytest.fixture
    def answers(self, monkeypatch):
        answers = {}
        monkeypatch.setattr(processes, "IS_LINUX", False)
        monkeypatch.setattr(processes, "_ask", lambda command: answers.get(command[0], []))
        return answers

    def test_the_start_is_asked_of_ps(self, answers):
        answers["ps"] = ["Ss   Sat Nov 21 08:00:00 2026"]
        identity = ProcessIdentity.of(7)
        assert identity == ProcessIdentity(7, "Sat Nov 21 08:00:00 2026")
        answers["ps"] = ["Ss   Sat Nov 21 09:00:00 2026"]
        assert not identity.is_alive()

    def test_a_zombie_is_gone(self, answers):
        answers["ps"] = ["Z    Sat Nov 21 08:00:00 2026"]
        assert ProcessIdentity.of(7) is None

    def test_program_and_directory_are_asked_of_ps_and_lsof(self, answers, tmp_path):
        answers["ps"] = ["/opt/pg/bin/postgres"]
        answers["lsof"] = ["p7", "fcwd", f"n{tmp_path}"]
        assert is_process_of(7, command="postgres", directory=tmp_path)
        assert not is_process_of(7, command="postgres", directory=tmp_path / "other")

    def test_nothing_is_known_of_a_process_that_never_was(self, answers):
        assert read_command(7) == ""
        assert read_working_dir(7) is None
        assert find_processes_in(processes.Path("/")) == []


def test_a_missing_program_answers_nothing():
    assert processes._ask(["/no/such/program"]) == []


def test_a_program_answers_in_lines():
    assert processes._ask(["printf", "a\nb\n"]) == ["a", "b"]
