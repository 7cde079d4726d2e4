"""Postgres refuses to run as root: who runs it then, and how that user reaches its binaries.

The unprivileged user is `portico` where the machine has one, else `nobody`. Two directories matter to it:

- The cluster may lie below a directory that only root can enter (/root, a 0700 data directory). Nothing is opened up
  for it: the child enters the cluster's directory while it is still root, then gives up its rights, and names the
  cluster `/proc/self/cwd` from there on.
- The binaries are used where they were installed if the user can run them there, else from a copy in a directory of
  root's that everybody may read, made once per version.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.core.embedded.errors import EmbeddedServiceError
from apps.core.embedded.processes import IS_LINUX

USER_NAMES = ("portico", "nobody")
CACHE_DIRS = (Path("/var/cache/portico"), Path(tempfile.gettempdir()) / "portico-cache-0")


@dataclass(frozen=True, slots=True)
class Unprivileged:
    """The user to whom root hands a child."""

    uid: int
    gid: int

    def popen_options(self) -> dict[str, Any]:
        """Return the arguments that make `subprocess` give up every right of root."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def find_unprivileged_user() -> Unprivileged | None:
    """Return the user that must run the database, None when the present one may.

    Raises:
        EmbeddedServiceError: we are root where no such user exists or the cluster could not be reached by it.
    """
    if os.geteuid() != 0:
        return None
    remedy = "Run as an ordinary user, or set DATABASE_URL."
    if not IS_LINUX:
        raise EmbeddedServiceError(f"Embedded Postgres does not run as root on this system. {remedy}")
    for name in USER_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Unprivileged(entry.pw_uid, entry.pw_gid)
    raise EmbeddedServiceError(f"Postgres refuses root, and there is no user {' or '.join(USER_NAMES)}. {remedy}")


def make_runnable(prefix: Path, *, version: str, user: Unprivileged) -> Path:
    """Return a prefix whose programs `user` can run: the installed one or a copy of it.

    Raises:
        EmbeddedServiceError: the user can run neither.
    """
    if _can_run(prefix, user):
        return prefix
    for cache in CACHE_DIRS:
        copy = cache / version / prefix.parent.name / prefix.name
        try:
            _copy_installation(prefix, cache, version)
        except OSError:
            continue
        if _can_run(copy, user):
            return copy
    places = " or ".join(str(cache) for cache in CACHE_DIRS)
    raise EmbeddedServiceError(
        f"The unprivileged user {user.uid} can run Postgres neither from {prefix} nor from a copy in {places}. "
        "Run as an ordinary user, or set DATABASE_URL."
    )


def _can_run(prefix: Path, user: Unprivileged) -> bool:
    """Try it: modes, ACLs, mount options and sandboxes all have a say."""
    script = '"$1/bin/initdb" --version && "$1/bin/postgres" --version && test -r "$1/share/postgresql/postgres.bki"'
    try:
        trial = subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", script, "sh", str(prefix)],
            cwd="/",
            capture_output=True,
            check=False,
            **user.popen_options(),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return trial.returncode == 0


def _copy_installation(prefix: Path, cache: Path, version: str) -> None:
    """Copy the programs with the libraries they look for beside their package."""
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    owner = cache.lstat()
    if owner.st_uid != 0 or owner.st_mode & 0o022 or cache.is_symlink():
        raise PermissionError(f"{cache} is not root's alone")
    target = cache / version
    if target.is_dir():
        return
    package = prefix.parent
    unfinished = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=cache))
    try:
        shutil.copytree(
            prefix, unfinished / package.name / prefix.name, ignore=shutil.ignore_patterns("include", "*.a")
        )
        for libraries in (package.parent / f"{package.name}.libs", package / ".dylibs"):
            if libraries.is_dir():
                shutil.copytree(libraries, unfinished / libraries.relative_to(package.parent))
        for path in (unfinished, *unfinished.rglob("*")):
            is_entered_or_run = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if is_entered_or_run else 0o644)
        unfinished.replace(target)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not target.is_dir():  # another start may have been faster
            raise
