"""Locks that a dying process gives back by itself: Postgres advisory locks of the transaction."""

from __future__ import annotations

import hashlib

from django.db import connection


def advisory_key(name: str) -> int:
    """Return the signed 64-bit key of a lock's name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)


def try_lock(name: str) -> bool:
    """Take the named lock until the transaction ends, without waiting; tell whether it was free."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [advisory_key(name)])
        row = cursor.fetchone()
    return bool(row and row[0])


def lock(name: str) -> None:
    """Take the named lock until the transaction ends, waiting for it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [advisory_key(name)])
