"""Processes that serve `/v1` on the services of the test session, for tests that let several work at once and kill one.

`python -m tests.support.gateway_process FD` serves on the listening socket FD.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

READY_SECONDS = 30


class GatewayProcess:
    """One serving process; a context manager that leaves nothing behind."""

    def __init__(self, *, data_dir: Path, **environment: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._environment = environment | {"PORTICO_DATA": str(data_dir)}

    def __enter__(self) -> GatewayProcess:
        from django.conf import settings

        database = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**settings.DATABASES["default"])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.gateway_process", str(self.listener.fileno())],
            pass_fds=[self.listener.fileno()],
            env={
                **os.environ,
                "DATABASE_URL": database,
                "REDIS_URL": settings.REDIS_URL,
                "DJANGO_SETTINGS_MODULE": "project.settings.test",
                **self._environment,
            },
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)
        self.listener.close()

    def wait_until_ready(self) -> None:
        """Return when it answers."""
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"{self.url}/v1/models", timeout=READY_SECONDS)

    def kill(self) -> None:
        """End it as the kernel would."""
        self.process.kill()
        self.process.wait(timeout=5)


def main(descriptor: int) -> None:
    import django
    import uvicorn
    from django.conf import settings

    settings.DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 0, "max_size": 20, "timeout": 2}
    settings.CELERY_TASK_ALWAYS_EAGER = False
    django.setup()

    from apps.gateway.edge import GatewayApplication

    listener = socket.socket(fileno=descriptor)
    config = uvicorn.Config(
        GatewayApplication(), loop="uvloop", http="httptools", log_config=None, access_log=False, lifespan="on",
        timeout_graceful_shutdown=10,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]))
