"""Argon2id as OWASP ASVS asks for, with a cap on how many hashes run at once."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

from django.contrib.auth.hashers import Argon2PasswordHasher, BasePasswordHasher, mask_hash
from django.utils.crypto import constant_time_compare

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


class ClientSecretHasher(BasePasswordHasher):
    """Salted SHA-256 for secrets that we make ourselves from 128 random characters: nothing there is guessable.

    A slow hash would only make every token request of a machine slow.
    """

    algorithm = "client_sha256"

    def encode(self, password: str, salt: str) -> str:
        digest = hashlib.sha256(f"{salt}${password}".encode()).hexdigest()
        return f"{self.algorithm}${salt}${digest}"

    def decode(self, encoded: str) -> dict[str, Any]:
        algorithm, salt, digest = encoded.split("$", 2)
        return {"algorithm": algorithm, "salt": salt, "hash": digest}

    def verify(self, password: str, encoded: str) -> bool:
        return constant_time_compare(encoded, self.encode(password, self.decode(encoded)["salt"]))

    def safe_summary(self, encoded: str) -> Any:
        return {"algorithm": self.algorithm, "hash": mask_hash(self.decode(encoded)["hash"])}

    def harden_runtime(self, password: str, encoded: str) -> None:
        """Do nothing: there is no work factor to make up for."""
