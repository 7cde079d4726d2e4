"""Encryption of single fields: AES-256-GCM with key ids, newest key first.

Stored form: `v1:<key id>:<base64 of nonce + ciphertext + tag>`. A retired key decrypts until its rows are written again.
The context (table and column) is authenticated, so a ciphertext cannot be moved to another column.
"""

from __future__ import annotations

import base64
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def parse_keys(text: str) -> dict[str, bytes]:
    """Return key id → 32 bytes, in order. Raise ImproperlyConfigured, without showing a key, when the form is wrong."""
    keys: dict[str, bytes] = {}
    for number, part in enumerate(filter(None, (piece.strip() for piece in text.split(","))), start=1):
        key_id, separator, encoded = part.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not separator or not key_id or len(key) != 32:
            raise ImproperlyConfigured(
                f"PORTICO_FIELD_ENCRYPTION_KEYS: entry {number} is not of the form id:base64 with 32 bytes."
            )
        keys[key_id] = key
    return keys


@lru_cache(maxsize=4)
def _ciphers(text: str) -> dict[str, AESGCM]:
    return {key_id: AESGCM(key) for key_id, key in parse_keys(text).items()}


def encrypt(text: str, *, context: str) -> str:
    """Return `text` encrypted under the newest key; raise ImproperlyConfigured when there is none."""
    ciphers = _ciphers(settings.FIELD_ENCRYPTION_KEYS)
    if not ciphers:
        raise ImproperlyConfigured("PORTICO_FIELD_ENCRYPTION_KEYS is empty: secrets cannot be stored.")
    key_id, cipher = next(iter(ciphers.items()))
    nonce = os.urandom(12)
    sealed = cipher.encrypt(nonce, text.encode(), context.encode())
    return f"v1:{key_id}:{base64.b64encode(nonce + sealed).decode()}"


def decrypt(stored: str, *, context: str) -> str:
    """Return the clear text; raise ValueError when the key is gone or the value was tampered with."""
    _, key_id, encoded = stored.split(":", 2)
    cipher = _ciphers(settings.FIELD_ENCRYPTION_KEYS).get(key_id)
    if cipher is None:
        raise ValueError(f"The field encryption key '{key_id}' is not configured.")
    raw = base64.b64decode(encoded)
    try:
        return cipher.decrypt(raw[:12], raw[12:], context.encode()).decode()
    except InvalidTag:
        raise ValueError("An encrypted field was changed outside the product, or belongs elsewhere.") from None
