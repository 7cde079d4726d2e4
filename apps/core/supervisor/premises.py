"""What one `manage.py up` occupies, taken before Django is set up and given back at the end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from apps.core.embedded import EmbeddedPostgres, EmbeddedRedis, EmbeddedServiceError
from apps.core.embedded.processes import ProcessIdentity
from apps.core.embedded.service import EmbeddedService
from apps.core.embedded.state import make_private_dir, write_private
from apps.core.secrets import ensure_secrets
from apps.core.supervisor.child import Child
from apps.core.supervisor.errors import StartError
from apps.core.supervisor.output import Output

BACKLOG = 2048
READY_SECONDS = 30.0
PATIENCE_SECONDS = 5.0
RETRY_PAUSE_SECONDS = 0.5
LEFTOVER_SECONDS = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the environment and the command line ask for."""

    data_dir: Path
    host: str
    port: int
    web_concurrency: int
    programs: tuple[str, ...]
    database_url: str = ""
    redis_url: str = ""


class Premises:
    """The lock, the port, the secrets and the embedded services of one `up`.

    A context manager: entering takes them in this order and raises `StartError` before the next when one is refused;
    leaving stops the services and gives the rest back.
    """

    def __init__(self, plan: Plan, output: Output) -> None:
        self.plan = plan
        self.output = output
        self.data_dir = plan.data_dir.absolute()
        self.begun = time.monotonic()
        self.listener: socket.socket | None = None
        self.services: list[Child] = []
        self._lock: IO[str] | None = None
        self._embedded: list[EmbeddedService] = []

    def __enter__(self) -> Premises:
        """Take everything, and tell the children through the environment."""
        try:
            self._take_lock()
            end_leftovers(self.processes_file)
            if "web" in self.plan.programs:
                self.listener = open_listener(self.plan.host, self.plan.port)
            self._export_settings()
            self._start_services()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give everything back."""
        self._leave()

    @property
    def processes_file(self) -> Path:
        """Return where the children are written down, so that the next `up` finds what kill -9 left."""
        return self.data_dir / "run" / "processes.json"

    @property
    def metrics_dir(self) -> Path:
        """Return where the processes share their metrics; emptied at every start."""
        return self.data_dir / "run" / "metrics"

    def remember(self, children: Sequence[Child]) -> None:
        """Write down who runs."""
        programs = [child for child in children if child.owns_group]  # services find their own leftovers
        identities = [{"name": child.name} | asdict(child.identity) for child in programs if child.identity is not None]
        write_private(self.processes_file, json.dumps(identities))

    def let_go(self) -> None:
        """Close the lock in a copy of the supervisor: it must not outlive the supervisor itself."""
        if self._lock is not None:  # pragma: no branch - copies are made only while it is held
            self._lock.close()

    def wait_for_services(self) -> None:
        """Return when every embedded service answers.

        Raises:
            StartError: one ended or did not answer in time.
        """
        for service, child in zip(self._embedded, self.services, strict=True):
            give_up_at = time.monotonic() + PATIENCE_SECONDS
            while not self._is_ready(service, child, give_up_at):
                time.sleep(RETRY_PAUSE_SECONDS)
                child.start()

    def _is_ready(self, service: EmbeddedService, child: Child, give_up_at: float) -> bool:
        try:
            service.wait_until_ready(READY_SECONDS)
        except EmbeddedServiceError as error:
            has_ended = child.notice_end() is not None
            child.close_output(self.output)
            # The last processes of a killed server may just be leaving: Postgres waits for none of them.
            if not has_ended or time.monotonic() > give_up_at:
                raise StartError(str(error)) from error
            return False
        return True

    def _take_lock(self) -> None:
        try:
            make_private_dir(self.data_dir)
            make_private_dir(self.data_dir / "run")
            self._lock = (self.data_dir / "run" / "lock").open("a+")
        except OSError as error:
            raise StartError(f"PORTICO_DATA {self.data_dir} cannot be written: {error}.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            raise StartError(
                f"Another `manage.py up` (process {holder}) runs on {self.data_dir}. "
                "Stop it, or start this one with another PORTICO_DATA and PORT."
            ) from None
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def _export_settings(self) -> None:
        """Put what the children need to know where they look; what the operator has set stays."""
        make_private_dir(self.metrics_dir)
        for left in self.metrics_dir.glob("*.db"):
            left.unlink(missing_ok=True)
        for name, value in ensure_secrets(self.data_dir).as_environment().items():
            os.environ.setdefault(name, value)
        os.environ["PORTICO_DATA"] = str(self.data_dir)
        os.environ["PORT"] = str(self.plan.port)
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(self.metrics_dir))

    def _start_services(self) -> None:
        """Start what no URL was given for. They get ready while Django is set up."""
        wanted: list[tuple[str, EmbeddedService]] = []
        if not self.plan.database_url:
            wanted.append(("DATABASE_URL", EmbeddedPostgres(self.data_dir / "postgres")))
        if not self.plan.redis_url:
            wanted.append(("REDIS_URL", EmbeddedRedis(self.data_dir / "redis")))
        for variable, service in wanted:
            child = Child(service.name.lower(), service.spawn, stop_signal=service.stop_signal, owns_group=False)
            try:
                service.prepare()
                child.start()
            except (EmbeddedServiceError, OSError) as error:
                raise StartError(str(error)) from error
            self._embedded.append(service)
            self.services.append(child)
            os.environ[variable] = service.url

    def _leave(self) -> None:
        for child in self.services:
            child.ask_to_stop()
        for service, child in zip(self._embedded, self.services, strict=True):
            if child.is_running:
                service.stop()
                child.notice_end()
            child.close_output(self.output)
        if self.listener is not None:
            self.listener.close()
        if self._lock is not None:
            self._lock.close()


def open_listener(host: str, port: int) -> socket.socket:
    """Listen where the web processes will serve, so that the port is ours before anything is started.

    Clients that come early wait in the backlog, and so do those who come while a web process is being restarted.

    Raises:
        StartError: the port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"PORT {port} is taken on {host}: stop what listens there, or set another PORT.",
            errno.EACCES: f"PORT {port} may not be opened by this user: set a PORT above 1023.",
            errno.EADDRNOTAVAIL: f"PORTICO_HOST {host} is no address of this machine.",
        }
        reason = reasons.get(error.errno or 0, f"PORT {port} cannot be opened on PORTICO_HOST {host}: {error}.")
        raise StartError(reason) from error


def end_leftovers(processes_file: Path) -> None:
    """End the children of an `up` that was killed; the lock says that it is gone.

    Each is known by process id and starting time, so that no stranger with the same id is hit.
    """
    try:
        entries = json.loads(processes_file.read_text())
        identities = [ProcessIdentity(entry["pid"], entry["started"]) for entry in entries]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return
    left = [identity for identity in identities if identity.is_alive()]
    for identity in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, signal.SIGTERM)
    deadline = time.monotonic() + LEFTOVER_SECONDS
    for identity in left:
        if not identity.end(signal.SIGTERM, within_seconds=max(0.0, deadline - time.monotonic())):
            identity.end(signal.SIGKILL, within_seconds=5, group=True)
