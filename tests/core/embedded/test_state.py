"""What an embedded service remembers: private, whole, and its port only while it is free."""

import socket

import pytest

from apps.core.embedded.state import (
    PORT_RANGE,
    choose_port,
    is_port_free,
    make_private_dir,
    read_optional,
    read_or_create,
    remember_port,
    write_private,
)


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def mode_of(path):
    return path.stat().st_mode & 0o777


def test_a_directory_is_private_even_when_it_was_not(tmp_path):
    loose = tmp_path / "loose"
    loose.mkdir(mode=0o755)
    assert mode_of(make_private_dir(loose)) == 0o700
    assert mode_of(make_private_dir(tmp_path / "new" / "deep")) == 0o700


def test_a_private_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "secret"
    write_private(path, "old")
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode_of(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_keeps_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "secret"
    write_private(path, "old")

    def refuse(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_private(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_created_once(tmp_path):
    answers = iter(["first", "second"])
    path = tmp_path / "password"
    assert read_or_create(path, lambda: next(answers)) == "first"
    assert read_or_create(path, lambda: next(answers)) == "first"
    assert mode_of(path) == 0o600


def test_a_readable_secret_is_closed_when_it_is_met(tmp_path):
    path = tmp_path / "password"
    path.write_text("kept")
    path.chmod(0o644)
    assert read_or_create(path, lambda: "other") == "kept"
    assert mode_of(path) == 0o600


def test_an_optional_file_may_be_missing(tmp_path):
    assert read_optional(tmp_path / "none") is None


def test_a_port_somebody_listens_on_is_not_free(taken_port):
    assert not is_port_free(taken_port)


def test_a_chosen_port_is_free_and_in_the_range():
    port = choose_port()
    assert port in PORT_RANGE
    assert is_port_free(port)


def test_without_a_free_port_in_the_range_the_system_chooses(monkeypatch):
    monkeypatch.setattr("apps.core.embedded.state.is_port_free", lambda port: False)
    assert choose_port() not in PORT_RANGE


def test_a_port_is_kept_while_it_is_free(tmp_path):
    path = tmp_path / "port"
    port = remember_port(path)
    assert remember_port(path) == port
    assert path.read_text() == str(port)


@pytest.mark.parametrize("content", ["", "no number"])
def test_an_unreadable_port_is_chosen_anew(tmp_path, content):
    path = tmp_path / "port"
    path.write_text(content)
    port = remember_port(path)
    assert path.read_text() == str(port)


def test_a_taken_port_is_chosen_anew_and_kept(tmp_path, taken_port):
    path = tmp_path / "port"
    path.write_text(str(taken_port))
    port = remember_port(path)
    assert port != taken_port
    assert path.read_text() == str(port)
