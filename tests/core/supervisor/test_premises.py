"""What `up` occupies: one at a time per directory, refused before anything is started."""

import io
import json
import multiprocessing
import os
import signal
import socket
import subprocess

import pytest

from apps.core.embedded import EmbeddedServiceError
from apps.core.embedded.processes import ProcessIdentity
from apps.core.embedded.state import choose_port
from apps.core.supervisor import premises as premises_module
from apps.core.supervisor.child import Child
from apps.core.supervisor.errors import StartError
from apps.core.supervisor.output import Output
from apps.core.supervisor.premises import Plan, Premises, end_leftovers, open_listener


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    """Give back what premises put into the environment."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in ("DATABASE_URL", "REDIS_URL", "PROMETHEUS_MULTIPROC_DIR", "PORTICO_SECRET_KEY"):
        os.environ.pop(name, None)


@pytest.fixture
def output():
    return Output(io.BytesIO(), color=False)


def make_plan(tmp_path, **changes):
    facts = {
        "data_dir": tmp_path / "data",
        "host": "127.0.0.1",
        "port": choose_port(),
        "web_concurrency": 1,
        "programs": ("web",),
        "database_url": "postgresql://elsewhere/portico",
        "redis_url": "redis://elsewhere/0",
    }
    return Plan(**(facts | changes))


def test_with_real_services_nothing_is_embedded_and_the_port_is_held(tmp_path, output):
    plan = make_plan(tmp_path)
    with Premises(plan, output) as premises:
        assert premises.services == []
        with pytest.raises(StartError, match=f"PORT {plan.port} is taken on 127.0.0.1"):
            open_listener(plan.host, plan.port)
        assert os.environ["PORT"] == str(plan.port)
        assert os.environ["PORTICO_DATA"] == str(tmp_path / "data")
        assert "DATABASE_URL" not in os.environ
    open_listener(plan.host, plan.port).close()


def test_embedded_services_are_up_inside_and_gone_after(tmp_path, output):
    with Premises(make_plan(tmp_path, database_url="", redis_url=""), output) as premises:
        premises.wait_for_services()
        assert [child.name for child in premises.services] == ["postgres", "redis"]
        processes = [child.identity for child in premises.services]
        assert os.environ["DATABASE_URL"].startswith("postgresql://portico:")
        assert os.environ["REDIS_URL"].startswith("redis://:")
    assert [process.is_alive() for process in processes] == [False, False]
    assert b"database system is shut down" in output.stream.getvalue()


def test_without_web_no_port_is_taken(tmp_path, output):
    with Premises(make_plan(tmp_path, programs=("relay",)), output) as premises:
        assert premises.listener is None


def test_a_copy_that_has_let_go_does_not_keep_the_directory(tmp_path, output):
    plan = make_plan(tmp_path, programs=("relay",))
    copies = multiprocessing.get_context("fork")
    has_let_go, may_end = copies.Event(), copies.Event()

    def live_on(premises):
        premises.let_go()
        has_let_go.set()
        may_end.wait(10)

    with Premises(plan, output) as premises:
        copy = copies.Process(target=live_on, args=(premises,))
        copy.start()
        assert has_let_go.wait(10)
        with pytest.raises(StartError, match=r"Another .* runs on"), Premises(plan, output):
            pass
    with Premises(plan, output):
        assert copy.is_alive()
    may_end.set()
    copy.join(10)
    assert copy.exitcode == 0


def test_secrets_are_generated_once_and_privately(tmp_path, output):
    plan = make_plan(tmp_path)
    with Premises(plan, output):
        first = os.environ["PORTICO_SECRET_KEY"]
    os.environ.pop("PORTICO_SECRET_KEY")
    with Premises(plan, output):
        assert os.environ["PORTICO_SECRET_KEY"] == first
    files = list((tmp_path / "data" / "secrets").iterdir())
    assert sorted(path.name for path in files) == ["field_encryption_keys", "jwt_private_key.pem", "secret_key"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_secrets_of_the_operator_win(tmp_path, output):
    os.environ["PORTICO_SECRET_KEY"] = "the operator's"
    with Premises(make_plan(tmp_path), output):
        assert os.environ["PORTICO_SECRET_KEY"] == "the operator's"


def test_the_metrics_of_an_earlier_start_are_gone(tmp_path, output):
    directory = tmp_path / "data" / "run" / "metrics"
    directory.mkdir(parents=True)
    (directory / "counter_1.db").write_bytes(b"old")
    with Premises(make_plan(tmp_path), output):
        assert list(directory.iterdir()) == []
        assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(directory)


def test_a_second_one_on_the_same_directory_is_refused_and_the_first_goes_on(tmp_path, output):
    with Premises(make_plan(tmp_path), output):
        message = rf"Another `manage.py up` \(process {os.getpid()}\) runs on .*another PORTICO_DATA and PORT"
        with pytest.raises(StartError, match=message), Premises(make_plan(tmp_path), output):
            pytest.fail("two on one directory")
    with Premises(make_plan(tmp_path), output):
        pass


def test_a_directory_that_cannot_be_written_is_named(tmp_path, output):
    (tmp_path / "data").write_text("a file")
    with (
        pytest.raises(StartError, match=r"PORTICO_DATA .*/data cannot be written"),
        Premises(make_plan(tmp_path), output),
    ):
        pytest.fail("started without a directory")


def test_a_service_that_ended_meanwhile_does_not_hinder_the_leaving(tmp_path, output):
    with Premises(make_plan(tmp_path, redis_url=""), output) as premises:
        premises.wait_for_services()
        [child] = premises.services
        child.process.kill()
        child.process.wait()
        assert child.notice_end() == -signal.SIGKILL
    assert child.output_fd is None


def test_a_copy_that_let_go_does_not_hold_the_lock_beyond_its_supervisor(tmp_path, output):
    with Premises(make_plan(tmp_path), output) as premises:
        reading, writing = os.pipe()
        copy = os.fork()
        if copy == 0:
            premises.let_go()
            premises.listener.close()
            os.write(writing, b"let go")
            signal.pause()
        assert os.read(reading, 16) == b"let go"
        os.close(reading)
        os.close(writing)
    try:
        with Premises(make_plan(tmp_path), output):
            pass
    finally:
        os.kill(copy, signal.SIGKILL)
        os.waitpid(copy, 0)


def test_two_run_side_by_side_on_different_directories_and_ports(tmp_path, output):
    with Premises(make_plan(tmp_path), output), Premises(make_plan(tmp_path, data_dir=tmp_path / "other"), output):
        pass


def test_a_taken_port_is_named_before_anything_is_started(tmp_path, output):
    with socket.create_server(("127.0.0.1", 0)) as taker:
        port = taker.getsockname()[1]
        plan = make_plan(tmp_path, port=port, database_url="", redis_url="")
        with pytest.raises(StartError, match=f"PORT {port} is taken"), Premises(plan, output):
            pytest.fail("two on one port")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["run"]


def test_an_address_of_another_machine_is_named():
    with pytest.raises(StartError, match=r"PORTICO_HOST 192\.0\.2\.1 is no address of this machine"):
        open_listener("192.0.2.1", choose_port())


def test_ipv6_addresses_are_listened_on():
    with open_listener("::1", choose_port()) as listener:
        assert listener.family == socket.AF_INET6


def test_a_service_that_cannot_be_prepared_stops_the_start(tmp_path, output, monkeypatch):
    def refuse():
        raise EmbeddedServiceError("No redis-server found.")

    monkeypatch.setattr("apps.core.embedded.redis.find_redis", refuse)
    plan = make_plan(tmp_path, redis_url="")
    with pytest.raises(StartError, match="No redis-server found"), Premises(plan, output):
        pytest.fail("started without Redis")
    open_listener(plan.host, plan.port).close()


def test_a_service_that_ends_at_its_start_is_given_another_try(tmp_path, output, monkeypatch):
    monkeypatch.setattr(premises_module, "RETRY_PAUSE_SECONDS", 0)
    with Premises(make_plan(tmp_path, redis_url=""), output) as premises:
        [child] = premises.services
        child.process.kill()
        child.process.wait()
        premises.wait_for_services()
        assert child.identity.is_alive()


def test_a_service_that_does_not_get_ready_stops_the_start_with_its_last_words(tmp_path, output, monkeypatch):
    monkeypatch.setattr(premises_module, "PATIENCE_SECONDS", 0)
    directory = tmp_path / "data" / "redis"
    directory.mkdir(parents=True)
    (directory / "appendonly.aof").write_bytes(b"no commands of Redis at all\r\n")
    with (
        Premises(make_plan(tmp_path, redis_url=""), output) as premises,
        pytest.raises(StartError, match="Embedded Redis ended at its start"),
    ):
        premises.wait_for_services()
    assert b"redis    | " in output.stream.getvalue()
    assert b"Bad file format" in output.stream.getvalue()


def spawn_sleeper(output_fd):
    return subprocess.Popen(["sleep", "60"], stdout=output_fd, start_new_session=True)


def test_the_children_of_a_killed_start_are_ended(tmp_path, output):
    with Premises(make_plan(tmp_path), output) as premises:
        left, service = Child("web", spawn_sleeper), Child("redis", spawn_sleeper, owns_group=False)
        left.start()
        service.start()
        premises.remember([left, service, Child("relay", spawn_sleeper)])
    processes_file = premises.processes_file
    assert processes_file.stat().st_mode & 0o777 == 0o600
    end_leftovers(processes_file)
    assert left.process.wait(timeout=5) == -signal.SIGTERM
    assert service.process.poll() is None  # services find their own leftovers
    service.process.kill()
    service.process.wait()


def test_a_child_that_ignores_the_request_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(premises_module, "LEFTOVER_SECONDS", 0.1)
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as stubborn:
        stubborn.stdout.readline()
        identity = ProcessIdentity.of(stubborn.pid)
        processes_file = tmp_path / "processes.json"
        processes_file.write_text(json.dumps([{"pid": identity.pid, "started": identity.started}]))
        end_leftovers(processes_file)
        assert stubborn.wait(timeout=5) == -signal.SIGKILL


@pytest.mark.parametrize("content", ["", "[{}]", '[{"pid": 1}]', '[{"pid": 1, "started": "never"}]'])
def test_a_list_that_means_nobody_hits_nobody(tmp_path, content):
    processes_file = tmp_path / "processes.json"
    processes_file.write_text(content)
    end_leftovers(processes_file)


def test_without_a_list_there_is_nothing_to_end(tmp_path):
    end_leftovers(tmp_path / "none")
