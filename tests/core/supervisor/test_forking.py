"""A program that is a copy of the supervisor: a process of its own in every respect."""

import os
import signal

import pytest
from django.core.management import CommandError

from apps.core.supervisor import forking
from apps.core.supervisor.errors import StartError
from apps.core.supervisor.forking import ForkedProcess, can_fork, fork_command, run_command, run_in_copy


def say(*words, to=1):
    """Write to the descriptor itself: in a test `sys.stdout` is pytest's."""
    os.write(to, f"{' '.join(map(str, words))}\n".encode())


@pytest.fixture
def fork(monkeypatch):
    """Return a function that forks `run` and returns the process with a way to read what it says."""
    processes, descriptors = [], []

    def fork(run, let_go=lambda: None):
        monkeypatch.setattr(forking, "run_command", run)
        reading, writing = os.pipe()
        descriptors.append(reading)
        process = fork_command(["web"], title="portico: a test", output_fd=writing, let_go=let_go)
        os.close(writing)
        processes.append(process)
        return process, os.fdopen(reading, closefd=False)

    yield fork
    for process in processes:
        process.kill()
        process.wait(5)
    for descriptor in descriptors:
        os.close(descriptor)


def test_its_words_and_its_code_are_its_own(fork):
    def run(arguments):
        say("said", *arguments)
        say("warned", to=2)
        return 3

    process, output = fork(run)
    assert output.read() == "said web\nwarned\n"
    assert process.wait(5) == 3
    assert process.poll() == 3


def test_it_lets_go_before_it_runs(fork):
    order = []
    _, output = fork(lambda arguments: say(*order) or 0, let_go=lambda: order.append("let go"))
    assert output.read() == "let go\n"
    assert order == []


def test_it_leads_a_session_with_default_signals_and_silence_as_input(fork):
    def run(arguments):
        handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]
        say(os.getsid(0) == os.getpid(), handlers == [signal.SIG_DFL] * 3, repr(os.read(0, 1)))
        say(signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(forking.HANDLED_SIGNALS))
        return 0

    _, output = fork(run)
    assert output.read() == "True True b''\nset()\n"


def test_it_says_in_ps_what_it_is(fork):
    def run(arguments):
        with open("/proc/self/cmdline") as line:
            say(line.read().rstrip("\0"))
        return 0

    _, output = fork(run)
    assert output.read() == "portico: a test\n"


def test_an_error_ends_it_with_code_1_without_unwinding_the_supervisor(fork):
    def run(arguments):
        raise RuntimeError("broken")

    process, _ = fork(run)
    assert process.wait(5) == 1


def test_where_the_kernel_cannot_tie_it_to_its_parent_it_runs_all_the_same(fork, monkeypatch):
    monkeypatch.setattr(forking, "die_with_parent", lambda number: None)
    process, output = fork(lambda arguments: say("ready") or 0)
    assert output.read() == "ready\n"
    assert process.wait(5) == 0


def test_it_ends_by_signals(fork):
    process, output = fork(lambda arguments: say("ready") or signal.pause())
    assert output.readline() == "ready\n"
    assert process.poll() is None
    with pytest.raises(TimeoutError, match="still runs"):
        process.wait(0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == -signal.SIGTERM
    process.send_signal(signal.SIGTERM)  # it has ended: nobody is hit


def test_a_signal_for_the_supervisor_is_not_lost_meanwhile(fork):
    taken = []
    previous = signal.signal(signal.SIGHUP, lambda number, frame: taken.append(number))
    try:
        process, _ = fork(lambda arguments: 0, let_go=lambda: None)
        os.kill(os.getpid(), signal.SIGHUP)
        process.wait(5)
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert taken == [signal.SIGHUP]


def test_copying_is_sound_only_with_a_single_thread(monkeypatch):
    class Tasks:
        def __init__(self, path):
            pass

        def iterdir(self):
            return iter(threads)

    monkeypatch.setattr(forking, "Path", Tasks)
    monkeypatch.setattr(forking, "IS_LINUX", True)
    threads = ["1"]
    assert can_fork()
    threads = ["1", "2"]
    assert not can_fork()
    monkeypatch.setattr(forking, "IS_LINUX", False)
    assert not can_fork()


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (None, 0),
        (CommandError("refused", returncode=2), 2),
        (KeyboardInterrupt(), 130),
        (SystemExit(4), 4),
        (SystemExit(), 0),
        (SystemExit("words"), 1),
    ],
)
def test_every_way_to_end_has_a_code(monkeypatch, outcome, code):
    def call(*arguments):
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(forking, "call_command", call)
    assert run_command(["web"]) == code


def test_an_unknown_child_cannot_be_waited_for():
    with pytest.raises(ChildProcessError):
        ForkedProcess(os.getpid()).poll()


class TestWorkInACopy:
    @pytest.fixture(autouse=True)
    def sound(self, monkeypatch):
        monkeypatch.setattr(forking, "can_fork", lambda: True)

    def test_its_answer_comes_back_and_its_traces_do_not(self):
        seen = []
        assert run_in_copy(lambda: seen.append(1) or {"pid": os.getpid()})["pid"] != os.getpid()
        assert seen == []

    def test_its_refusal_is_raised_here(self):
        def refuse():
            raise StartError("no room")

        with pytest.raises(StartError, match="no room"):
            run_in_copy(refuse)

    def test_a_copy_that_dies_is_not_mistaken_for_one_that_answered(self):
        with pytest.raises(StartError, match="what is above says why"):
            run_in_copy(lambda: os.kill(os.getpid(), signal.SIGKILL))

    def test_what_it_did_not_expect_is_told_on_stderr(self, capfd):
        def fail():
            raise KeyError("bug")

        with pytest.raises(StartError):
            run_in_copy(fail)
        assert "KeyError: 'bug'" in capfd.readouterr().err

    @pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
    def test_a_copy_that_is_asked_to_stop_leaves_without_a_word(self, capfd, leave):
        def stop():
            raise leave

        with pytest.raises(StartError):
            run_in_copy(stop)
        assert capfd.readouterr().err == ""

    def test_where_the_kernel_cannot_tie_it_to_its_parent_it_answers_all_the_same(self, monkeypatch):
        monkeypatch.setattr(forking, "die_with_parent", lambda number: None)
        assert run_in_copy(lambda: {"pid": os.getpid()})["pid"] != os.getpid()

    def test_a_signal_that_comes_meanwhile_ends_the_copy_with_the_wait(self):
        reading, writing = os.pipe()

        def interrupt_and_stay():
            os.write(writing, str(os.getpid()).encode())
            os.kill(os.getppid(), signal.SIGINT)
            signal.pause()

        with pytest.raises(KeyboardInterrupt):
            run_in_copy(interrupt_and_stay)
        copy = int(os.read(reading, 20))
        os.close(reading)
        os.close(writing)
        with pytest.raises(ProcessLookupError):
            os.kill(copy, 0)

    def test_where_a_copy_is_not_sound_the_work_is_done_here(self, monkeypatch):
        monkeypatch.setattr(forking, "can_fork", lambda: False)
        assert run_in_copy(lambda: {"pid": os.getpid()}) == {"pid": os.getpid()}
