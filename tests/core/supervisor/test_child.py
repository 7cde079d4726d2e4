"""One child: its patience grows with each death in a row, and its family goes with it."""

import io
import signal
import subprocess

import pytest

from apps.core.embedded.processes import ProcessIdentity
from apps.core.supervisor.child import Child, describe_exit
from apps.core.supervisor.output import Output
from tests.support.waiting import wait_until


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def spawn_shell(script):
    def spawn(output_fd):
        return subprocess.Popen(["sh", "-c", script], stdout=output_fd, start_new_session=True)

    return spawn


def make_child(script, **options):
    return Child("web", spawn_shell(script), **options)


def wait_for_exit(child):
    child.process.wait(timeout=5)
    return child.notice_end()


@pytest.fixture
def output():
    return Output(io.BytesIO(), color=False)


def test_what_it_says_is_passed_on_to_the_last_unfinished_line(output):
    child = make_child("echo one; printf two")
    child.start()
    assert wait_for_exit(child) == 0
    child.close_output(output)
    assert output.stream.getvalue() == b"web      | one\nweb      | two\n"
    assert child.output_fd is None


def test_reading_tells_whether_more_may_come(output):
    child = make_child("exec sleep 60")
    child.start()
    assert child.read_output(output)  # nothing yet
    child.kill()
    wait_for_exit(child)
    wait_until(lambda: not child.read_output(output))
    child.close_output(output)
    child.close_output(output)
    assert not child.read_output(output)


def test_a_running_child_has_not_ended():
    child = make_child("exec sleep 60")
    assert child.notice_end() is None
    child.start()
    assert child.notice_end() is None
    assert child.is_running
    child.kill()
    assert wait_for_exit(child) == -signal.SIGKILL
    assert not child.is_running


def test_patience_grows_to_half_a_minute_and_starts_anew_after_a_good_life():
    clock = Clock()
    child = make_child("exit 1", clock=clock)
    delays = []
    for _ in range(9):
        child.start()
        wait_for_exit(child)
        delays.append(child.schedule_restart())
    assert delays == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    child.start()
    wait_for_exit(child)
    clock.now += 5
    assert child.schedule_restart() == 0.25


def test_a_restart_is_due_when_its_time_has_come():
    clock = Clock()
    child = make_child("exit 1", clock=clock)
    child.start()
    wait_for_exit(child)
    child.schedule_restart()
    assert not child.is_due()
    clock.now += 1
    assert child.is_due()
    child.start()
    assert not child.is_due()
    wait_for_exit(child)


def test_stopping_asks_with_its_signal_and_forgets_restarts():
    child = make_child("trap 'exit 7' INT; echo ready; while :; do sleep 0.01; done", stop_signal=signal.SIGINT)
    child.schedule_restart()
    child.ask_to_stop()
    assert child.restart_at is None
    child.start()
    wait_until(lambda: ProcessIdentity.of(child.process.pid) and _has_said_ready(child))
    child.ask_to_stop()
    assert wait_for_exit(child) == 7


def _has_said_ready(child):
    output = Output(io.BytesIO(), color=False)
    child.read_output(output)
    return b"ready" in output.stream.getvalue()


@pytest.mark.parametrize("end", ["child.kill()", "child.process.kill()"])
def test_its_family_goes_with_it(end, output):
    child = make_child("sleep 60 & echo $!; wait")
    child.start()
    said = []
    wait_until(lambda: child.read_output(output) and output.stream.getvalue().endswith(b"\n"))
    said = output.stream.getvalue().split()[-1]
    grandchild = ProcessIdentity.of(int(said))
    {"child.kill()": child.kill, "child.process.kill()": child.process.kill}[end]()
    wait_for_exit(child)
    wait_until(lambda: not grandchild.is_alive())


def test_a_process_without_a_group_of_its_own_is_killed_alone():
    child = make_child("exec sleep 60", owns_group=False)
    child.start()
    child.kill()
    assert wait_for_exit(child) == -signal.SIGKILL


def test_killing_nobody_does_nothing():
    make_child("exit 0").kill()


def test_a_child_that_cannot_start_leaves_no_pipe_behind():
    def refuse(output_fd):
        raise OSError("no more processes")

    child = Child("web", refuse)
    with pytest.raises(OSError, match="no more processes"):
        child.start()
    assert child.output_fd is None
    assert not child.is_running


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "ended with code 0"), (3, "ended with code 3"), (-9, "was ended by SIGKILL"), (-99, "was ended by signal 99")],
)
def test_an_exit_is_told_in_words(code, words):
    assert describe_exit(code) == words
