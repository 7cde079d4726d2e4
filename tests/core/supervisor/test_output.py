"""One log for all: whole lines, each under its name, coloured only for people."""

import io

import pytest

from apps.core.supervisor.output import LineBuffer, Output, wants_color


class Terminal(io.BytesIO):
    def isatty(self):
        return True


class Gone(io.BytesIO):
    def write(self, data):
        raise BrokenPipeError


@pytest.fixture
def color_allowed(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_lines_come_whole_however_they_arrive():
    lines = LineBuffer()
    assert lines.feed(b"one\ntw") == [b"one"]
    assert lines.feed(b"o\r\nthree") == [b"two"]
    assert lines.finish() == [b"three"]
    assert lines.finish() == []


def test_a_line_without_end_does_not_grow_without_end():
    lines = LineBuffer()
    assert lines.feed(b"x" * (LineBuffer.LONGEST + 1)) == [b"x" * (LineBuffer.LONGEST + 1)]
    assert lines.finish() == []


def test_every_line_is_prefixed():
    stream = io.BytesIO()
    output = Output(stream)
    output.write_lines("web", [b"one", b"two"])
    output.write_lines("web", [])
    output.say("a\nb")
    output.show("banner\n")
    assert stream.getvalue() == b"web      | one\nweb      | two\nup       | a\nup       | b\nbanner\n"


def test_processes_of_one_program_share_its_colour(color_allowed):
    stream = Terminal()
    Output(stream).write_lines("web.2", [b"one"])
    assert stream.getvalue() == b"\x1b[32mweb.2    | \x1b[0mone\n"


def test_colour_is_for_terminals(color_allowed):
    assert wants_color(Terminal())
    assert not wants_color(io.BytesIO())


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_declined(color_allowed, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert not wants_color(Terminal())


def test_a_reader_that_went_away_stops_nothing():
    output = Output(Gone())
    output.write_lines("web", [b"one"])
    output.show("banner")
