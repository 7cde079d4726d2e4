"""Argon2id as OWASP ASVS asks for, with a cap on how many hashes run at once."""

from __future__ import annotations

import threading
from typing import Any

from django.contrib.auth.hashers import Argon2PasswordHasher

from apps.core.errors import DependencyDown

MAX_CONCURRENT = 2
WAIT_SECONDS = 5.0
_slots = threading.BoundedSemaphore(MAX_CONCURRENT)


class CappedArgon2PasswordHasher(Argon2PasswordHasher):
    """64 MiB, t=4, p=4 (about 0.3 s). More than two at once in a process would let logins starve it of memory."""

    time_cost = 4
    memory_cost = 65_536
    parallelism = 4

    def encode(self, password: str, salt: str) -> str:
        with _Slot():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        with _Slot():
            return super().verify(password, encoded)


class _Slot:
    def __enter__(self) -> None:
        if not _slots.acquire(timeout=WAIT_SECONDS):
            raise DependencyDown("Too many people log in at this moment; try again shortly.", retry_after_seconds=2)

    def __exit__(self, *_: Any) -> None:
        _slots.release()
