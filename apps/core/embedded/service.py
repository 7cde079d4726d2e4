"""What the embedded services share: one server process in one private directory."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

from apps.core.embedded.errors import EmbeddedServiceError
from apps.core.embedded.processes import ProcessIdentity, die_with_parent
from apps.core.embedded.state import make_private_dir, read_optional

POLL_SECONDS = 0.02


class EmbeddedService:
    """A server that this process starts, watches and stops.

    `start()` does it all; a supervisor calls `prepare()`, `spawn()` and `wait_until_ready()` itself and keeps
    calling `spawn()` when the server dies: port and password stay the same, so that clients find it again.
    """

    name: str
    stop_signal: signal.Signals
    # Sent to the server by the kernel when we die, and by the next start to what it finds.
    start_seconds: float = 30.0

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self.durable = durable
        self._port = 0
        self._password = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL, password included; known from `prepare()` on."""
        raise NotImplementedError

    def recall_url(self) -> str | None:
        """Return the URL under which this directory's server was last started, None when it never was."""
        port, password = read_optional(self.data_dir / "port"), read_optional(self.data_dir / "password")
        if not port or not password:
            return None
        self._port, self._password = int(port), password
        return self.url

    def prepare(self) -> None:
        """Make everything ready for `spawn()`: directory, password, port; end what an earlier start left running."""
        raise NotImplementedError

    def build_command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Say whether the server answers to our password."""
        raise NotImplementedError

    def spawn(self, output: IO[bytes] | int | None = None) -> subprocess.Popen[bytes]:
        """Start the server process and return it; what it says goes to `output`, else to `server.log` beside it."""
        raise NotImplementedError

    def start(self) -> str:
        """Run the server and return its URL once it answers.

        Raises:
            EmbeddedServiceError: it does not run here.
        """
        deadline = time.monotonic() + self.start_seconds
        while True:
            self.prepare()
            self.spawn()
            try:
                self.wait_until_ready(deadline - time.monotonic())
            except EmbeddedServiceError:
                # Somebody took the port meanwhile, or the last of a killed server's processes is just leaving.
                if self.is_running() or time.monotonic() > deadline:
                    self.stop()
                    raise
                time.sleep(0.2)
            else:
                return self.url

    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Return once the server answers.

        Raises:
            EmbeddedServiceError: it ended, or did not answer in time; the message carries its last words.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready():
            if not self.is_running():
                raise EmbeddedServiceError(f"Embedded {self.name} ended at its start. {self._read_last_words()}")
            if time.monotonic() > deadline:
                raise EmbeddedServiceError(f"Embedded {self.name} does not answer. {self._read_last_words()}")
            time.sleep(POLL_SECONDS)

    def is_running(self) -> bool:
        """Say whether the process we started still runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self, within_seconds: float = 10.0) -> None:
        """Stop the server cleanly; one that does not obey in time is killed, and recovers at its next start."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(within_seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    @property
    def log_file(self) -> Path:
        """Return where the server writes when nobody listens."""
        return self.data_dir / "server.log"

    def _popen(
        self,
        command: list[str],
        *,
        directory: Path,
        environment: dict[str, str],
        output: IO[bytes] | int | None,
        **options: object,
    ) -> subprocess.Popen[bytes]:
        make_private_dir(self.data_dir)
        own_log = None
        if output is None:
            own_log = output = os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self.process = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                umask=0o077,
                start_new_session=True,  # Ctrl-C is ours to pass on
                preexec_fn=die_with_parent(self.stop_signal),  # noqa: PLW1509 -- one system call, no locks
                **options,
            )
        finally:
            if own_log is not None:
                os.close(own_log)
        assert self.process is not None
        return self.process

    def _end_leftover(self, pid: int) -> None:
        """End a server that an earlier start left in our directory.

        Raises:
            EmbeddedServiceError: it does not end.
        """
        identity = ProcessIdentity.of(pid)
        if identity is None or identity.end(self.stop_signal, within_seconds=10):
            return
        if not identity.end(signal.SIGKILL, within_seconds=5):
            raise EmbeddedServiceError(f"An earlier embedded {self.name} (process {pid}) does not end; end it by hand.")

    def _read_last_words(self) -> str:
        try:
            lines = self.log_file.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "Its last words:\n" + "\n".join(lines[-8:]) if lines else ""
