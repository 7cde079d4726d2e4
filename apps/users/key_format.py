"""The form of API keys: `pk_live_`, 27 random base62 characters (160 bits), 6 of checksum.

The checksum is CRC-32 of what precedes it: a mistyped or made-up key is refused without a look-up, and scanners can tell
a real key from noise.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib

PREFIX = "pk_live_"
RANDOM_LENGTH = 27
CHECKSUM_LENGTH = 6
SHOWN_LENGTH = 14
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _checksum(text: str) -> str:
    value = zlib.crc32(text.encode())
    letters = []
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, 62)
        letters.append(_BASE62[digit])
    return "".join(reversed(letters))


def new_secret() -> str:
    """Return a fresh key in clear; it is shown once and never stored."""
    body = PREFIX + "".join(secrets.choice(_BASE62) for _ in range(RANDOM_LENGTH))
    return body + _checksum(body)


def is_well_formed(secret: str) -> bool:
    """Tell whether a string can be a key: a right checksum where it carries our prefix, 32 or more characters otherwise."""
    if not 32 <= len(secret) <= 256 or not secret.isascii():
        return False
    if not secret.startswith(PREFIX):
        return True
    return secrets.compare_digest(_checksum(secret[:-CHECKSUM_LENGTH]), secret[-CHECKSUM_LENGTH:])


def hash_secret(secret: str) -> str:
    """Return the SHA-256 by which a key is found; 160 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def shown_prefix(secret: str) -> str:
    """Return the part of a key that people may see: less than a third of it."""
    return secret[:SHOWN_LENGTH] if secret.startswith(PREFIX) else secret[:6]
