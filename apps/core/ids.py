"""Identifiers: UUIDv7 in storage, `prefix_` plus 26 characters where a person meets them.

The text form is TypeID 0.3 (https://github.com/jetify-com/typeid): Crockford base32, lower case, of the 128 bits.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from uuid import UUID

from apps.core.errors import InvalidInput

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS = {letter: value for value, letter in enumerate(ALPHABET)}
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
MOST_AHEAD = 10_000 << 12
_lock = threading.Lock()
_last = 0


def uuid7() -> UUID:
    """Return a UUIDv7 (RFC 9562, 5.7), strictly increasing within this process.

    48 bits of Unix milliseconds, 12 bits of a counter seeded from the clock's microseconds, 62 random bits. A clock that
    is set back by more than ten seconds was wrong before: from then on its new time counts.
    """
    global _last  # noqa: PLW0603 - one counter per process is the point
    nanoseconds = time.time_ns()
    stamp = (nanoseconds // 1_000_000 << 12) | (nanoseconds % 1_000_000 * 4096 // 1_000_000)
    with _lock:
        if stamp > _last - MOST_AHEAD:
            stamp = max(stamp, _last + 1)
        _last = stamp
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62
    return UUID(int=value | int.from_bytes(os.urandom(8)) >> 2)


def time_of(value: UUID) -> datetime:
    """Return the UTC time, in whole milliseconds, at which a UUIDv7 was made."""
    return datetime.fromtimestamp((value.int >> 80) / 1000, tz=UTC)


def encode_id(prefix: str, value: UUID) -> str:
    """Return the public form of an id, for example `conv_01h455vb4pex5vsknk084sn02q`."""
    number = value.int
    return f"{prefix}_{''.join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])}"


def decode_id(prefix: str, text: str) -> UUID:
    """Return the UUID of a public id; a bare UUID is taken too. Raise InvalidInput for anything else."""
    found, separator, letters = text.rpartition("_")
    if separator and found == prefix and len(letters) == 26 and letters[0] in "01234567":
        try:
            number = 0
            for letter in letters:
                number = number << 5 | _DIGITS[letter]
            return UUID(int=number)
        except KeyError:
            pass
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(
            f"'{text[:80]}' is not an id of the form {prefix}_… (26 characters).", code="invalid_id"
        ) from None
