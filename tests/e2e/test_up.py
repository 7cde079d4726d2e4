"""`manage.py up` as an operator meets it: started, pasted from, refused twice, killed, started again, stopped."""

import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request

import pytest

from apps.core.embedded.processes import IS_LINUX, find_processes_in
from apps.core.embedded.state import choose_port, is_port_free
from tests.support.running import BASE_DIR, RunningPortico, build_environment
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not IS_LINUX, reason="finds the product's processes in /proc"),
]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status


def run_manage(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BASE_DIR,
        env=build_environment(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def paste(command, **environment):
    answer = subprocess.run(
        ["sh", "-c", command], env=os.environ | environment, capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(answer.stdout)


def find_word_after(log, label):
    line = next(line for line in log.splitlines() if line.strip().startswith(f"{label} "))
    return line.strip().removeprefix(label).split()[0]


def check_refusals(portico, tmp_path):
    """A second one on the same directory, and one on the same port, say so and touch nothing."""
    same_directory = run_manage("up", PORTICO_DATA=str(portico.data_dir), PORT=str(choose_port()))
    assert same_directory.returncode == 1
    assert f"(process {portico.process.pid}) runs on {portico.data_dir}" in same_directory.stderr
    same_port = run_manage("up", PORTICO_DATA=str(tmp_path / "other"), PORT=str(portico.port))
    assert same_port.returncode == 1
    assert f"PORT {portico.port} is taken" in same_port.stderr
    assert not (tmp_path / "other" / "postgres").exists()


def kill_web(portico):
    """The port stays open while the web process is away: who comes meanwhile waits and is answered."""
    web = portico.find_processes()["web"]
    os.kill(web.pid, signal.SIGKILL)
    wait_until(lambda: not web.is_alive())
    with urllib.request.urlopen(f"http://127.0.0.1:{portico.port}/health", timeout=30) as answer:
        assert answer.status == 200
    assert "web was ended by SIGKILL; starting it again in 0.25 s" in portico.log


def test_a_life_of_up(tmp_path):
    data_dir, port = tmp_path / "data", choose_port()
    with RunningPortico(data_dir, port) as first:
        first.wait_for_banner()
        assert get(f"http://127.0.0.1:{port}/health") == 200
        assert find_word_after(first.log, "Log in") == "admin@portico.local"
        api_key = find_word_after(first.log, "API key")
        assert api_key in shlex.split(first.curl)[4]
        assert paste(first.curl)["choices"][0]["message"]["role"] == "assistant"
        beside = run_manage("ledger_check", PORTICO_DATA=str(data_dir))
        assert beside.returncode == 0, beside.stderr
        check_refusals(first, tmp_path)
        kill_web(first)
        left = first.find_processes()
        assert sorted(left) == ["beat", "postgres", "redis", "relay", "web", "worker"]
        first.kill()

    with RunningPortico(data_dir, port) as second:
        second.wait_for_banner()
        assert [identity for identity in left.values() if identity.is_alive()] == []
        assert "shown only now" not in second.log
        assert api_key not in second.log
        assert paste(second.curl, PORTICO_API_KEY=api_key)["choices"][0]["message"]["role"] == "assistant"
        running = second.find_processes()
        assert second.stop() < 10
        assert second.process.returncode == 0
        assert [identity for identity in running.values() if identity.is_alive()] == []
        assert find_processes_in(data_dir / "postgres" / "cluster") == []
        assert is_port_free(port)
