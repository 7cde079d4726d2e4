"""What can be said on the command line of `manage.py up`."""

from __future__ import annotations

import argparse

PROGRAMS = ("web", "worker", "beat", "relay")


def parse_programs(text: str) -> tuple[str, ...]:
    """Return the programs of a comma-separated list, in starting order."""
    names = {name.strip() for name in text.split(",") if name.strip()}
    unknown = names.difference(PROGRAMS)
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"name some of {', '.join(PROGRAMS)}, comma-separated")
    return tuple(name for name in PROGRAMS if name in names)


def parse_port(text: str) -> int:
    """Return the port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `up`."""
    parser.add_argument(
        "--only",
        type=parse_programs,
        default=PROGRAMS,
        metavar="PROGRAMS",
        help=f"run only some of {','.join(PROGRAMS)} (comma-separated); for machines that share real services",
    )
    parser.add_argument("--no-migrate", action="store_true", help="refuse to start instead of applying migrations")
    parser.add_argument("--port", type=parse_port, help="port of the web process; wins over PORT")


def parse_early(arguments: list[str]) -> argparse.Namespace:
    """Read what is needed before Django is set up; what does not parse is left for the command to complain about."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    add_arguments(parser)
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError:
        return parser.parse_args([])
