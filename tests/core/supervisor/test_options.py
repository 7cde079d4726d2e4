"""The command line of `up`."""

import argparse

import pytest

from apps.core.supervisor.options import PROGRAMS, add_arguments, parse_early, parse_port, parse_programs


def test_without_options_everything_runs():
    options = parse_early([])
    assert options.only == PROGRAMS == ("web", "worker", "beat", "relay")
    assert (options.no_migrate, options.port) == (False, None)


def test_some_programs_run_in_starting_order():
    assert parse_early(["--only", "relay, web"]).only == ("web", "relay")


@pytest.mark.parametrize("text", ["", ",", "web,nobody"])
def test_unknown_programs_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="web, worker, beat, relay"):
        parse_programs(text)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", ""])
def test_no_port_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="1 to 65535"):
        parse_port(text)


def test_what_django_knows_is_left_to_it():
    assert parse_early(["--port=9000", "--verbosity", "2", "--no-color"]).port == 9000


def test_what_does_not_parse_is_left_for_the_command_to_complain_about():
    assert parse_early(["--port", "none", "--only=web"]).port is None
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    with pytest.raises(argparse.ArgumentError, match="1 to 65535"):
        parser.parse_args(["--port", "none"])
