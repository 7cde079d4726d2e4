"""Embedded Postgres: the packaged binaries under a launcher of our own.

The package's own launcher is not used: it opens up parent directories when root, takes dead servers for live ones and
trusts whoever connects. This one keeps the cluster in a 0700 directory, speaks only scram over loopback TCP, and runs
the server as an unprivileged user when root starts it (see `demotion`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from apps.core.embedded.binaries import POSTGRES_MAJOR, find_postgres, name_postgres_version
from apps.core.embedded.demotion import Unprivileged, find_unprivileged_user, make_runnable
from apps.core.embedded.errors import EmbeddedServiceError
from apps.core.embedded.processes import find_processes_in, is_process_of, read_command
from apps.core.embedded.service import EmbeddedService
from apps.core.embedded.state import LOOPBACK, make_private_dir, read_or_create, remember_port

DATABASE = "portico"
ROLE = "portico"
SUPERUSER = "postgres"

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m ",
    "log_checkpoints": "off",
    "cluster_name": "portico",
}
# For data that nobody misses after the run.
FLEETING_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum_naptime": "1h",
}


class EmbeddedPostgres(EmbeddedService):
    """A Postgres with pgvector for one data directory.

    The database and its owner are called `portico`; the owner is no superuser. New databases are born with the
    `vector` extension, which only a superuser may create.
    """

    name = "Postgres"
    stop_signal = signal.SIGINT  # "fast": no new sessions, roll back, checkpoint, leave

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        super().__init__(data_dir, durable=durable)
        self.cluster = self.data_dir / "cluster"
        self._prefix: Path | None = None
        self._user: Unprivileged | None = None

    @property
    def url(self) -> str:
        """Return the URL of the product's database as its owner."""
        return self._build_url(ROLE, self._password, DATABASE)

    def prepare(self) -> None:
        """Create the cluster if there is none, end a leftover server, choose the port."""
        make_private_dir(self.data_dir)
        self._user = find_unprivileged_user()
        self._prefix = find_postgres()
        if self._user is not None:
            self._prefix = make_runnable(self._prefix, version=name_postgres_version(), user=self._user)
        self._password = read_or_create(self.data_dir / "password", _generate_password)
        if (self.cluster / "PG_VERSION").exists():
            self._check_version()
            self._end_leftover_server()
        else:
            self._create_cluster()
        self._port = remember_port(self.data_dir / "port")

    def build_command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        settings = SETTINGS | ({} if self.durable else FLEETING_SETTINGS) | {"port": str(self._port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", self._name_for_child(self.cluster), *options]

    def spawn(self, output: IO[bytes] | int | None = None) -> subprocess.Popen[bytes]:
        """Start the server process in its cluster's directory, as the unprivileged user when we are root."""
        self._forget_foreign_pid()
        options: dict[str, Any] = self._user.popen_options() if self._user else {}
        return self._popen(
            self.build_command(), directory=self.cluster, environment=_build_environment(), output=output, **options
        )

    def is_ready(self) -> bool:
        """Say whether the product's database answers to our password; complete a new cluster on the way."""
        provisioned = self.data_dir / "provisioned"
        with contextlib.suppress(psycopg.OperationalError):
            if not provisioned.exists():
                self._provision()
                provisioned.touch(mode=0o600)
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        return False

    def _build_url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{quote(password, safe='')}@{LOOPBACK}:{self._port}/{database}"

    def _program(self, name: str) -> str:
        assert self._prefix is not None, "prepare() comes first"
        return str(self._prefix / "bin" / name)

    def _name_for_child(self, directory: Path) -> str:
        """Name the directory the child starts in so that it reaches it whatever lies above."""
        return "/proc/self/cwd" if self._user else str(directory)

    def _check_version(self) -> None:
        major = (self.cluster / "PG_VERSION").read_text().strip()
        if major != str(POSTGRES_MAJOR):
            raise EmbeddedServiceError(
                f"{self.cluster} was written by Postgres {major}; this version runs {POSTGRES_MAJOR}. "
                "Move it with pg_dump and pg_restore, or start with another PORTICO_DATA."
            )

    def _end_leftover_server(self) -> None:
        """End the server that `postmaster.pid` names, if that process really is this cluster's server."""
        pid = self._read_pid_file()
        if pid and is_process_of(pid, command="postgres", directory=self.cluster):
            self._end_leftover(pid)

    def _forget_foreign_pid(self) -> None:
        """Remove a `postmaster.pid` whose number now belongs to some other process.

        After kill -9 or a power cut the number may be taken again (in a container it nearly always is), and Postgres
        would refuse to start because of it. The file stays while any process works in the cluster: it then guards
        the shared memory of a killed server's last children.
        """
        pid = self._read_pid_file()
        is_foreign = read_command(pid) and not is_process_of(pid, command="postgres", directory=self.cluster)
        if pid and is_foreign and not find_processes_in(self.cluster):
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def _read_pid_file(self) -> int:
        try:
            return int((self.cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return 0

    def _create_cluster(self) -> None:
        """Run initdb beside the final place and move its work there, so that a half-made cluster is never used."""
        unfinished = self.data_dir / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        (self.data_dir / "provisioned").unlink(missing_ok=True)
        make_private_dir(unfinished)
        superuser_password = read_or_create(self.data_dir / "superuser_password", _generate_password)
        options: dict[str, Any] = {}
        # /tmp because the unprivileged user reaches it for sure; mkstemp makes the file 0600.
        descriptor, password_file = tempfile.mkstemp(dir="/tmp")
        try:
            os.write(descriptor, superuser_password.encode())
            os.close(descriptor)
            if self._user is not None:
                os.chown(unfinished, self._user.uid, self._user.gid)
                os.chown(password_file, self._user.uid, self._user.gid)
                options = self._user.popen_options()
            self._run_initdb(unfinished, password_file, options)
        finally:
            Path(password_file).unlink()
        unfinished.replace(self.cluster)

    def _run_initdb(self, directory: Path, password_file: str, options: dict[str, Any]) -> None:
        command = [
            self._program("initdb"),
            f"--pgdata={self._name_for_child(directory)}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth-host=scram-sha-256",
            "--auth-local=reject",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            *([] if self.durable else ["--no-sync"]),
        ]
        try:
            made = subprocess.run(  # noqa: S603
                command, cwd=directory, env=_build_environment(), capture_output=True, text=True, check=False, **options
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedServiceError(f"initdb cannot run here ({error}). Set DATABASE_URL instead.") from error
        if made.returncode != 0:
            raise EmbeddedServiceError(f"initdb failed:\n{made.stderr.strip()}")

    def _provision(self) -> None:
        """Create role, extension and database; each step may have been done before a kill."""
        superuser_password = (self.data_dir / "superuser_password").read_text()

        def connect(database: str) -> psycopg.Connection[tuple[Any, ...]]:
            url = self._build_url(SUPERUSER, superuser_password, database)
            return psycopg.connect(url, autocommit=True, connect_timeout=2)

        with connect("template1") as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        with connect(SUPERUSER) as connection:
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE]).fetchall():
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(ROLE)))
            rights = sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER {} PASSWORD {}").format(
                sql.Identifier(ROLE),
                # A test run creates databases of its own.
                sql.SQL("NOCREATEDB" if self.durable else "CREATEDB"),
                sql.Literal(self._password),
            )
            connection.execute(rights)
            if not self.durable:  # ... and empties append-only tables between tests
                connection.execute(
                    sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {}").format(sql.Identifier(ROLE))
                )
            if not self.durable:
                # Tests empty append-only tables between themselves; nobody else may put their triggers to rest.
                connection.execute(
                    sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {}").format(sql.Identifier(ROLE))
                )
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchall():
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE))
                )


def _generate_password() -> str:
    return secrets.token_urlsafe(32)


def _build_environment() -> dict[str, str]:
    """Return what the server may know: none of our secrets, and no locale that macOS would make it multithreaded for."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
