"""The log of all children in one stream: each line says whose it is."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

NAME_WIDTH = 8
COLORS = {
    "up": 37,
    "postgres": 34,
    "redis": 31,
    "web": 32,
    "worker": 33,
    "beat": 35,
    "relay": 36,
}


def wants_color(stream: BinaryIO) -> bool:
    """Say whether colours reach a person: a terminal, and NO_COLOR not set (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


class Output:
    """Writes whole lines, each behind the name of its source."""

    def __init__(self, stream: BinaryIO | None = None, *, color: bool | None = None) -> None:
        self.stream = stream if stream is not None else sys.stdout.buffer
        self.has_color = wants_color(self.stream) if color is None else color

    def write_lines(self, name: str, lines: list[bytes]) -> None:
        """Write lines of one source; a reader that went away does not stop the product."""
        if not lines:
            return
        prefix = self._build_prefix(name)
        try:
            self.stream.write(b"".join(prefix + line + b"\n" for line in lines))
            self.stream.flush()
        except (BrokenPipeError, OSError):
            pass

    def say(self, text: str) -> None:
        """Write what the supervisor itself has to say."""
        self.write_lines("up", [line.encode() for line in text.splitlines()])

    def show(self, text: str) -> None:
        """Write text as it is."""
        try:
            self.stream.write(text.encode())
            self.stream.flush()
        except (BrokenPipeError, OSError):
            pass

    def _build_prefix(self, name: str) -> bytes:
        label = f"{name:<{NAME_WIDTH}} | "
        if not self.has_color:
            return label.encode()
        return f"\x1b[{COLORS.get(name.partition('.')[0], 37)}m{label}\x1b[0m".encode()


class LineBuffer:
    """Cuts a stream of bytes into lines; a line without end is cut at a size that no sane line has."""

    LONGEST = 64 * 1024

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes) -> list[bytes]:
        """Return the lines that are complete now."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        if len(self._rest) > self.LONGEST:
            lines.append(self._rest)
            self._rest = b""
        return [line.rstrip(b"\r") for line in lines]

    def finish(self) -> list[bytes]:
        """Return what came after the last line end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []
