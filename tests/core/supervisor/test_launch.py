"""What happens between `manage.py` and Django: `up` takes premises, the others borrow."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from apps.core.embedded.state import choose_port
from apps.core.secrets import ensure_secrets, find_secrets
from apps.core.supervisor.errors import StartError
from apps.core.supervisor.launch import Stage, plan_start, prepare_command
from apps.core.supervisor.premises import open_listener


@dataclass
class Environment:
    data_dir: Path
    port: int
    host: str = "127.0.0.1"
    web_concurrency: int = 2
    database_url: str = "postgresql://elsewhere/portico"
    redis_url: str = "redis://elsewhere/0"


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path / "data", choose_port())


@pytest.fixture(autouse=True)
def own_process_state(monkeypatch):
    """Give back environment and signal handler."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in ("DATABASE_URL", "REDIS_URL", "PORTICO_SECRET_KEY", "PROMETHEUS_MULTIPROC_DIR"):
        os.environ.pop(name, None)
    monkeypatch.setattr(Stage, "is_asked_to_stop", False)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def test_the_command_line_wins_over_the_environment(environment):
    plan = plan_start(["--port", "9001", "--only", "web"], environment)
    assert (plan.port, plan.programs, plan.web_concurrency) == (9001, ("web",), 2)
    assert plan_start([], environment).port == environment.port


def test_up_holds_its_premises_while_it_runs(environment):
    with prepare_command(["up"], environment):
        assert Stage.premises.plan.port == environment.port
        with pytest.raises(StartError):
            open_listener("127.0.0.1", environment.port)
    assert Stage.premises is None
    open_listener("127.0.0.1", environment.port).close()


def test_a_termination_before_the_loop_gives_everything_back(environment):
    with pytest.raises(SystemExit) as ended, prepare_command(["up"], environment):
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM
    assert Stage.is_asked_to_stop
    assert Stage.premises is None
    open_listener("127.0.0.1", environment.port).close()


def test_asking_for_help_takes_nothing(environment):
    with prepare_command(["up", "--help"], environment):
        assert Stage.premises is None
    assert not environment.data_dir.exists()


def test_other_commands_create_nothing(environment):
    environment.database_url = environment.redis_url = ""
    with prepare_command(["check"], environment):
        assert "PORTICO_SECRET_KEY" not in os.environ
        assert "DATABASE_URL" not in os.environ
    assert not environment.data_dir.exists()


def test_other_commands_borrow_secrets_and_embedded_services(environment):
    secrets = ensure_secrets(environment.data_dir)
    environment.redis_url = environment.database_url = ""
    for name in ("postgres", "redis"):
        directory = environment.data_dir / name
        directory.mkdir()
        (directory / "port").write_text("23456")
        (directory / "password").write_text("word")
    with prepare_command(["usage_export"], environment):
        assert os.environ["PORTICO_SECRET_KEY"] == secrets.secret_key
        assert os.environ["DATABASE_URL"] == "postgresql://portico:word@127.0.0.1:23456/portico"
        assert os.environ["REDIS_URL"] == "redis://:word@127.0.0.1:23456/0"


def test_real_services_are_not_replaced_by_embedded_ones(environment):
    directory = environment.data_dir / "postgres"
    directory.mkdir(parents=True)
    (directory / "port").write_text("23456")
    (directory / "password").write_text("word")
    with prepare_command(["migrate"], environment):
        assert "DATABASE_URL" not in os.environ


def test_secrets_that_are_incomplete_are_not_lent(tmp_path):
    ensure_secrets(tmp_path)
    (tmp_path / "secrets" / "secret_key").unlink()
    assert find_secrets(tmp_path) is None
