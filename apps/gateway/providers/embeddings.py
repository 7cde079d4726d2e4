"""Vectors as clients of the embeddings API take them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence

from apps.gateway.providers.tokens import EMBEDDING_ENCODING, decode_tokens


def encode_vector(vector: Sequence[float]) -> str:
    """Return a vector in OpenAI's base64 format: little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def decode_vector(text: str) -> list[float]:
    """Return the numbers of a vector in OpenAI's base64 format. Raise ValueError for anything else."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) % 4:
        raise ValueError("A vector has four bytes for each number.")
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def read_texts(value: object) -> list[str] | None:
    """Return every form of `input` as texts; None when tokens are of no vocabulary that we know, or nothing is there."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        return None
    if all(type(item) is int for item in value):
        value = [value]
    texts = [item if isinstance(item, str) else _decode(item) for item in value]
    return None if None in texts else [text for text in texts if text is not None]


def _decode(value: object) -> str | None:
    if not isinstance(value, list) or not value or any(type(token) is not int for token in value):
        return None
    return decode_tokens(value, EMBEDDING_ENCODING)
