"""`python -m tests.architecture.check_deploy`: `manage.py check --deploy` as a production machine would run it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from apps.core.secrets import ensure_secrets


def main() -> int:
    """Run the check with secrets made for the occasion; any warning fails."""
    with tempfile.TemporaryDirectory(prefix="portico-deploy-") as name:
        environment = {
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "project.settings.production",
            "DATABASE_URL": "postgresql://portico:portico@127.0.0.1:1/portico",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "PORTICO_DATA": name,
            "PORTICO_PUBLIC_URL": "https://portico.example",
            "PORTICO_ALLOWED_HOSTS": "portico.example",
            "PORTICO_TRUSTED_PROXIES": "10.0.0.0/8",
            **ensure_secrets(Path(name)).as_environment(),
        }
        command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
