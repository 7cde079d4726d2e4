"""Vectors as clients of the embeddings API take them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence


def encode_vector(vector: Sequence[float]) -> str:
    """Return a vector in OpenAI's base64 format: little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
