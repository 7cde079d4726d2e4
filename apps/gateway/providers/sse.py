"""Server-sent events, decoded over raw network reads."""

from __future__ import annotations

from apps.gateway.providers.base import UpstreamBroken

MAX_EVENT_BYTES = 32 * 1024 * 1024
"""Longest event held in memory. Generous, because images may travel inside of one."""


class SseDecoder:
    """Split a byte stream into events as the HTML standard describes them, in linear time.

    Comments, `id` and `retry` are skipped. Lines may end in LF, CRLF or CR, and be cut anywhere by the network.
    """

    __slots__ = ("_data", "_event", "_held", "_partial", "_size")

    def __init__(self) -> None:
        self._partial: list[bytes] = []
        self._size = 0
        self._data: list[bytes] = []
        self._event = ""
        self._held = b""

    def feed(self, read: bytes) -> list[tuple[str, bytes]]:
        """Return the (event name, data) pairs that `read` completes. Raise `UpstreamBroken` when one never ends."""
        if self._held or b"\r" in read:
            read = self._with_newlines(read)
        self._size += len(read)
        if b"\n" not in read:
            self._partial.append(read)
            self._check_size()
            return []
        lines = read.split(b"\n")
        if self._partial:
            self._partial.append(lines[0])
            lines[0] = b"".join(self._partial)
        last = lines.pop()
        self._partial = [last] if last else []
        events = self._dispatch(lines)
        self._size = len(last) + sum(map(len, self._data))
        self._check_size()
        return events

    def close(self) -> list[tuple[str, bytes]]:
        """Return what the end of the stream completes: many servers leave out the last blank line."""
        rest = b"".join(self._partial)
        self._partial = []
        return self._dispatch([rest, b""])

    def _dispatch(self, lines: list[bytes]) -> list[tuple[str, bytes]]:
        events: list[tuple[str, bytes]] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    events.append((self._event, data))
                    self._data = []
                self._event = ""
            elif line.startswith(b"event:"):
                self._event = line[6:].strip().decode("utf-8", "replace")
        return events

    def _with_newlines(self, read: bytes) -> bytes:
        # A CR at the very end may be half of a CRLF: it waits for the next read.
        read = self._held + read
        self._held = b""
        if read.endswith(b"\r"):
            read, self._held = read[:-1], b"\r"
        return read.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _check_size(self) -> None:
        if self._size > MAX_EVENT_BYTES:
            raise UpstreamBroken(f"The provider sent an event of more than {MAX_EVENT_BYTES} bytes.")
