"""A real `manage.py up` for tests that look at the whole product from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from apps.core.embedded.processes import ProcessIdentity

BASE_DIR = Path(__file__).resolve().parents[2]
# What would lead the product under test to the services of the test session, or to the developer's own settings.
FOREIGN = re.compile(
    r"^(DATABASE_URL|REDIS_URL|CELERY_BROKER_URL|PORT|WEB_CONCURRENCY|DJANGO_.*|PORTICO_.*|.*_API_KEY)$"
)
MEASURING = re.compile(r"^COVERAGE_")
BANNER_END = "curl "
BANNER_SECONDS = 90.0


class RunningPortico:
    """One `up` on a data directory and a port; a context manager that leaves no process behind.

    Its processes are measured for coverage as the tests are, at half their speed, unless `is_measured` says otherwise.
    """

    def __init__(
        self, data_dir: Path, port: int, *arguments: str, is_measured: bool = True, **environment: str
    ) -> None:
        self.data_dir = data_dir
        self.port = port
        self.arguments = arguments
        self.environment = build_environment(PORTICO_DATA=str(data_dir), PORT=str(port), **environment)
        if not is_measured:
            self.environment = {n: value for n, value in self.environment.items() if not MEASURING.match(n)}
        self.lines: list[str] = []
        self._changed = threading.Condition()

    def __enter__(self) -> RunningPortico:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up", *self.arguments],
            cwd=BASE_DIR,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        self._reader.join(timeout=10)

    @property
    def log(self) -> str:
        """Return everything that was said so far."""
        return "\n".join(self.lines)

    @property
    def curl(self) -> str:
        """Return the line that the banner invites to paste."""
        return next(line.strip() for line in self.lines if line.strip().startswith(BANNER_END))

    def wait_for_banner(self) -> None:
        """Return when the banner is complete; fail with the log when it does not come."""
        self.wait_for_line(lambda line: line.strip().startswith(BANNER_END), seconds=BANNER_SECONDS)

    def wait_for_line(self, matches, *, seconds: float = 30.0) -> str:
        """Return the first line that matches; fail with the log when none comes."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for line in self.lines:
                    if matches(line):
                        return line
                assert time.monotonic() < deadline, f"the line did not come; the log:\n{self.log}"
                assert self.process.poll() is None, f"up ended with {self.process.returncode}; the log:\n{self.log}"
                self._changed.wait(timeout=0.5)

    def wait_for_exit(self, *, seconds: float = 60.0) -> int:
        """Return the exit code of a start that ends by itself; everything it said is in the log then."""
        code = self.process.wait(timeout=seconds)
        self._reader.join(timeout=10)
        return code

    def stop(self) -> float:
        """End it as a process manager would; return the seconds it took."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        return time.monotonic() - begun

    def kill(self) -> None:
        """End it as the kernel would."""
        self.process.kill()
        self.process.wait(timeout=5)

    def find_processes(self) -> dict[str, ProcessIdentity]:
        """Return the programs of this installation by name, and its two services."""
        entries = json.loads((self.data_dir / "run" / "processes.json").read_text())
        found = {entry["name"]: ProcessIdentity(entry["pid"], entry["started"]) for entry in entries}
        for name, directory in (("postgres", "postgres/cluster/postmaster.pid"), ("redis", "redis/redis.pid")):
            pid = int((self.data_dir / directory).read_text().split()[0])
            identity = ProcessIdentity.of(pid)
            assert identity is not None
            found[name] = identity
        return found

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()


def build_environment(**changes: str) -> dict[str, str]:
    """Return the environment of a machine on which nothing of Portico is set."""
    kept = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    return kept | {"NO_COLOR": "1"} | changes
