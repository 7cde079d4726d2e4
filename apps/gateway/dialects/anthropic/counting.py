"""How many tokens a prompt in Anthropic's format has, counted here: for every model, without asking anybody.

Texts are counted in OpenAI's vocabulary, which is public; Anthropic's is not. What a Claude counts lies above that, by about
a sixth up to version 4.6 and by up to a third from 4.7, as Anthropic says of its newer tokenizer; the count leans upwards,
because clients ask in order not to run into the end of the context. Images are counted by Anthropic's rule of thumb: width
times height over 750, after scaling down to 1,568 pixels on the long side.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import Any

from apps.gateway.providers.claude_models import FIRST_WITHOUT_SAMPLING, OTHER, parse_generation
from apps.gateway.providers.tokens import IMAGE_TOKENS, count_prompt

MAX_IMAGE_SIDE = 1_568
MAX_IMAGE_TOKENS = 1_600
"""Of an image whose size cannot be told, too: of one that is given by its address, for instance."""
PIXELS_PER_TOKEN = 750
TOOL_PROMPT_TOKENS = {"auto": 346, "none": 346, "any": 313, "tool": 313}
"""What Anthropic adds to a prompt with tools, by `tool_choice`, as its documentation says of the fourth generation."""
HEAD_BYTES = 64 * 1024
"""As much of an image as is looked at for its size; the largest headers of JPEG (a preview, a colour profile) fit in."""
_CLAUDE_FACTOR, _NEWER_FACTOR = 1.16, 1.34


def count_input(body: dict[str, Any], request: dict[str, Any], model: str) -> int:
    """Return the tokens of a prompt: `body` as it came, `request` in canonical form, `model` as its provider calls it.

    Takes about 30 ms per megabyte of text; the interpreter is free for other threads meanwhile.
    """
    images = [part for message in request["messages"] for part in _images(message)]
    total = count_prompt(request, model) - IMAGE_TOKENS * len(images)
    generation = parse_generation(model)
    if generation != OTHER:
        total = math.ceil(total * (_NEWER_FACTOR if generation >= FIRST_WITHOUT_SAMPLING else _CLAUDE_FACTOR))
        if body.get("tools"):
            choice = body.get("tool_choice") or {}
            total += TOOL_PROMPT_TOKENS.get(str(choice.get("type")), TOOL_PROMPT_TOKENS["auto"])
    return total + sum(image_tokens(part["image_url"]["url"]) for part in images)


def image_tokens(url: str) -> int:
    """Return the tokens of an image, given by its address or as base64 data."""
    size = _size_of(url)
    if size is None or 0 in size:
        return MAX_IMAGE_TOKENS
    width, height = size
    scale = min(1.0, MAX_IMAGE_SIDE / max(width, height))
    return max(1, min(MAX_IMAGE_TOKENS, math.ceil(width * scale * height * scale / PIXELS_PER_TOKEN)))


def _images(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [part for part in content if part["type"] == "image_url"] if isinstance(content, list) else []


def _size_of(url: str) -> tuple[int, int] | None:
    head, separator, data = url.partition(";base64,")
    if not separator or not head.startswith("data:"):
        return None
    try:
        start = base64.b64decode(data[: HEAD_BYTES // 3 * 4], validate=False)
    except (binascii.Error, ValueError):
        return None
    if start.startswith(b"\x89PNG\r\n\x1a\n") and len(start) >= 24:
        width, height = struct.unpack(">II", start[16:24])
        return width, height
    if start.startswith((b"GIF87a", b"GIF89a")) and len(start) >= 10:
        width, height = struct.unpack("<HH", start[6:10])
        return width, height
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return _webp_size(start)
    return _jpeg_size(start) if start.startswith(b"\xff\xd8") else None


def _webp_size(start: bytes) -> tuple[int, int] | None:
    if len(start) < 30:
        return None
    match start[12:16]:
        case b"VP8 ":
            width, height = struct.unpack("<HH", start[26:30])
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            bits = int.from_bytes(start[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
    return None


def _jpeg_size(start: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(start) and start[at] == 0xFF:
        marker = start[at + 1]
        # Frame headers are C0 to CF, but for tables of Huffman (C4), arithmetic coding (CC) and an extension (C8).
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", start[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(start[at + 2 : at + 4], "big")
    return None
