"""Start what is measured: the mock upstream, Portico, and LiteLLM where it is installed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "bench" / "build"
MODEL = "gpt-4o-mini"


@dataclass(frozen=True)
class Target:
    """One server: where it answers, with which key, and the process that does the work (None: not measured)."""

    name: str
    url: str
    key: str
    pid: int | None
    data: Path = Path()
    """Portico's data directory."""


def build_tools() -> dict[str, Path]:
    """Compile the load generator and the mock upstream."""
    BUILD.mkdir(exist_ok=True)
    tools = {}
    for source in sorted((ROOT / "bench" / "src").glob("*.c")):
        binary = BUILD / source.stem
        if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["cc", "-O2", "-w", "-o", binary, source], check=True)
        tools[source.stem] = binary
    return tools


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Wait until a URL answers at all; raise when the process has ended or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


@contextlib.contextmanager
def running(command: list[str], *, env: dict[str, str], log: Path, ready: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for the length of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, cwd=ROOT, start_new_session=True)
        try:
            wait_for(ready, process)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def upstream(tools: dict[str, Path], core: int) -> Iterator[str]:
    """Run the mock upstream on a core; give its base URL."""
    port = free_port()
    process = subprocess.Popen(
        ["taskset", "-c", str(core), tools["mock_upstream"], str(port)], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()


def programs(data: Path) -> dict[str, int]:
    """Return the processes that `manage.py up` started on a data directory, by name."""
    return {entry["name"]: int(entry["pid"]) for entry in json.loads((data / "run" / "processes.json").read_text())}


def web_processes(data: Path) -> list[int]:
    """Return those of them that serve."""
    return [pid for name, pid in programs(data).items() if name.startswith("web")]


@contextlib.contextmanager
def portico(upstream_url: str, **environment: str) -> Iterator[Target]:
    """Run all of Portico on a fresh data directory, with the mock as its OpenAI."""
    data = Path(tempfile.mkdtemp(prefix="portico-bench-"))
    port, key = free_port(), "bench-" + secrets.token_hex(16)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_URL", "REDIS_URL"))},
        "PORT": str(port),
        "PORTICO_DATA": str(data),
        "PORTICO_API_KEY": key,
        "PORTICO_ADMIN_PASSWORD": secrets.token_urlsafe(12),
        "OPENAI_API_KEY": "mock",
        "OPENAI_BASE_URL": f"{upstream_url}/v1",
        **environment,
    }
    try:
        with running(
            [sys.executable, "manage.py", "up"],
            env=env,
            log=data.with_suffix(".log"),
            ready=f"http://127.0.0.1:{port}/ready",
        ):
            yield Target("portico", f"http://127.0.0.1:{port}", key, web_processes(data)[0], data)
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextlib.contextmanager
def litellm(upstream_url: str) -> Iterator[Target | None]:
    """Run LiteLLM's proxy, tuned and without a database (its fastest), where it is installed; else give None."""
    command = shutil.which("litellm") or os.environ.get("LITELLM", "")
    if not command:
        yield None
        return
    port = free_port()
    config = Path(tempfile.mkdtemp(prefix="litellm-bench-")) / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "model_list": [
                    {
                        "model_name": MODEL,
                        "litellm_params": {
                            "model": f"openai/{MODEL}",
                            "api_base": f"{upstream_url}/v1",
                            "api_key": "mock",
                        },
                    }
                ],
                "general_settings": {"master_key": "sk-bench"},
                "litellm_settings": {"telemetry": False, "set_verbose": False},
            }
        )
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with running(
        [command, "--config", str(config), "--port", str(port), "--num_workers", "1"],
        env=env,
        log=config.with_suffix(".log"),
        ready=f"http://127.0.0.1:{port}/health/liveliness",
    ) as process:
        yield Target("litellm", f"http://127.0.0.1:{port}", "sk-bench", process.pid)
