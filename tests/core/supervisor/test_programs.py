"""Which commands run, and what they inherit."""

import io
import sys

import pytest
from django.core.management import get_commands

from apps.core.embedded.state import choose_port
from apps.core.management.commands.web import build_config
from apps.core.supervisor import programs
from apps.core.supervisor.output import Output
from apps.core.supervisor.premises import Plan, Premises, open_listener
from apps.core.supervisor.programs import build_command, build_programs
from tests.support.waiting import wait_until


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
    assert [child.name for child in build_programs(premises)] == ["web", "worker", "beat", "relay"]
    assert [child.name for child in build_programs(make_premises(tmp_path, programs=("relay",)))] == ["relay"]


def test_several_web_processes_are_children_of_their_own(tmp_path, listener):
    premises = make_premises(tmp_path, web_concurrency=3, programs=("web",))
    premises.listener = listener
    assert [child.name for child in build_programs(premises)] == ["web.1", "web.2", "web.3"]


def test_web_inherits_the_listening_socket_and_speaks_unbuffered(tmp_path, listener, monkeypatch):
    script = tmp_path / "manage.py"
    script.write_text(
        "import os, socket, sys\n"
        "name, option, skip = sys.argv[1:]\n"
        "taken = socket.socket(fileno=int(option.removeprefix('--fd=')))\n"
        "print(name, skip, taken.getsockname()[1], os.environ['PYTHONUNBUFFERED'], os.getpid() == os.getsid(0))\n"
    )
    monkeypatch.setattr(programs, "MANAGE", str(script))
    premises = make_premises(tmp_path, programs=("web",))
    premises.listener = listener
    [child] = build_programs(premises)
    child.start()
    wait_until(lambda: child.notice_end() is not None)
    child.close_output(premises.output)
    port = listener.getsockname()[1]
    assert premises.output.stream.getvalue().decode() == f"web      | web --skip-checks {port} 1 True\n"


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_celery_runs_in_the_same_interpreter(program):
    command = build_command(program)
    assert command[0] == sys.executable
    assert " ".join(command).partition("-m ")[2].startswith(f"celery --quiet -A project {program} ")


def test_the_relay_is_a_command_of_ours():
    assert build_command("relay")[2:] == ["relay", "--skip-checks"]
    assert "relay" in get_commands()


def test_the_web_server_is_the_fast_one_and_logs_no_access():
    config = build_config()
    assert (config.loop, config.http, config.access_log) == ("uvloop", "httptools", False)
    assert (config.proxy_headers, config.server_header) == (False, False)
