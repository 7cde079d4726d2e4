"""Which commands run, and what they inherit."""

import io

import pytest
from django.core.management import get_commands
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from apps.core.embedded.state import choose_port
from apps.core.management.commands.web import build_config
from apps.core.supervisor import programs
from apps.core.supervisor.forking import ForkedProcess
from apps.core.supervisor.options import PROGRAMS
from apps.core.supervisor.output import Output
from apps.core.supervisor.premises import Plan, Premises, open_listener
from apps.core.supervisor.programs import build_programs
from tests.support.waiting import wait_until


def nothing():
    """Let go of nothing."""


def make_premises(tmp_path, **changes):
    facts = {
        "data_dir": tmp_path,
        "host": "127.0.0.1",
        "port": choose_port(),
        "web_concurrency": 1,
        "programs": ("web", "worker", "beat", "relay"),
    }
    return Premises(Plan(**(facts | changes)), Output(io.BytesIO(), color=False))


@pytest.fixture
def listener():
    with open_listener("127.0.0.1", choose_port()) as listener:
        yield listener


def test_the_children_are_those_of_the_plan(tmp_path, listener):
    premises = make_premises(tmp_path)
    premises.listener = listener
    assert [child.name for child in build_programs(premises, nothing)] == ["web", "worker", "beat", "relay"]
    assert [child.name for child in build_programs(make_premises(tmp_path, programs=("relay",)), nothing)] == ["relay"]


def test_several_web_processes_are_children_of_their_own(tmp_path, listener):
    premises = make_premises(tmp_path, web_concurrency=3, programs=("web",))
    premises.listener = listener
    assert [child.name for child in build_programs(premises, nothing)] == ["web.1", "web.2", "web.3"]


def test_web_inherits_the_listening_socket_and_speaks_unbuffered(tmp_path, listener, monkeypatch):
    script = tmp_path / "manage.py"
    script.write_text(
        "import os, socket, sys\n"
        "name, option, skip = sys.argv[1:]\n"
        "taken = socket.socket(fileno=int(option.removeprefix('--fd=')))\n"
        "print(name, skip, taken.getsockname()[1], os.environ['PYTHONUNBUFFERED'], os.getpid() == os.getsid(0))\n"
    )
    monkeypatch.setattr(programs, "MANAGE", str(script))
    monkeypatch.setattr(programs, "can_fork", lambda: False)
    premises = make_premises(tmp_path, programs=("web",))
    premises.listener = listener
    [child] = build_programs(premises, nothing)
    child.start()
    wait_until(lambda: child.notice_end() is not None)
    child.close_output(premises.output)
    port = listener.getsockname()[1]
    assert premises.output.stream.getvalue().decode() == f"web      | web --skip-checks {port} 1 True\n"


@pytest.fixture
def forked(monkeypatch):
    """Record what would be forked."""
    forked = []

    def record(arguments, *, title, output_fd, let_go):
        forked.append((arguments, title))
        let_go()
        return ForkedProcess(0)

    monkeypatch.setattr(programs, "can_fork", lambda: True)
    monkeypatch.setattr(programs, "fork_command", record)
    return forked


def test_programs_are_copies_of_the_supervisor_where_that_is_sound(tmp_path, listener, forked):
    premises = make_premises(tmp_path)
    premises.listener = listener
    let_go = []
    for child in build_programs(premises, lambda: let_go.append("supervisor")):
        child.start()
        child.let_go()
        is_open_after = listener.fileno() != -1
        assert is_open_after == (child.name == "web")
    assert let_go == ["supervisor"] * 4
    commands = [arguments[0] for arguments, _ in forked]
    assert commands == ["web", "worker", "beat", "relay"]
    assert [title for _, title in forked] == [programs.TITLES[command] for command in commands]


def test_without_web_there_is_no_listener_to_let_go_of(tmp_path, forked):
    [child] = build_programs(make_premises(tmp_path, programs=("relay",)), nothing)
    child.start()
    child.let_go()
    assert [arguments for arguments, _ in forked] == [["relay"]]


def test_every_program_is_a_command_with_a_title():
    assert set(programs.TITLES) == set(PROGRAMS)
    assert set(PROGRAMS) <= set(get_commands())


SERVED = ["project.asgi.application", "apps.gateway.providers.tokens.load_vocabulary"]


@pytest.mark.parametrize(("names", "loaded"), [(("web", "relay"), SERVED), (("relay",), [])])
def test_getting_ready_loads_what_is_served_and_closes_what_must_not_be_shared(monkeypatch, names, loaded):
    imported, closed = [], []
    connection = type("Connection", (), {"close_pool": lambda: closed.append("pool")})
    connections = type("Connections", (), {"close_all": lambda: closed.append("connections")})
    pool = type("Pool", (), {"disconnect": lambda: closed.append("redis")})
    monkeypatch.setattr(programs, "import_string", lambda path: imported.append(path) or (lambda: None))
    monkeypatch.setattr(programs, "connection", connection)
    monkeypatch.setattr(programs, "connections", connections)
    monkeypatch.setattr(programs, "get_redis", lambda: type("Redis", (), {"connection_pool": pool}))
    monkeypatch.setattr(programs.gc, "freeze", lambda: closed.append("frozen"))
    programs.get_ready_to_fork(names)
    assert imported == loaded
    assert closed == ["connections", "pool", "redis", "frozen"]


def test_the_web_server_is_the_fast_one_and_logs_no_access():
    config = build_config()
    assert (config.loop, config.access_log) == ("uvloop", False)
    assert issubclass(config.http, HttpToolsProtocol)
    assert (config.proxy_headers, config.server_header) == (False, False)
