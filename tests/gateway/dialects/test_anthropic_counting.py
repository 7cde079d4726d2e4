"""The tokens of a prompt, as far as they can be known here."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import pytest

from apps.gateway.dialects.anthropic.counting import MAX_IMAGE_TOKENS, count_input, image_tokens
from apps.gateway.dialects.anthropic.request import read_request
from apps.gateway.providers.tokens import count_prompt

HELLO = [{"role": "user", "content": "Hello, how are you today?"}]


def count(model: str, **fields: Any) -> int:
    body = {"model": "m", "messages": HELLO, **fields}
    return count_input(body, read_request(body).request, model)


def url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def png(width: int, height: int) -> str:
    return url(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", width, height))


def jpeg(width: int, height: int, marker: int = 0xC0) -> str:
    application = b"\xff\xe0\x00\x06ab\0\0"
    huffman = b"\xff\xc4\x00\x04ab"
    frame = bytes([0xFF, marker]) + b"\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03\0\0"
    return url(b"\xff\xd8" + application + huffman + frame, "jpeg")


def webp(kind: bytes, rest: bytes) -> str:
    return url(b"RIFF\0\0\0\0WEBP" + kind + b"\0\0\0\0" + rest.ljust(16, b"\0"), "webp")


def test_texts_are_counted_in_the_models_own_vocabulary() -> None:
    assert count("gpt-4o") == count_prompt({"messages": HELLO}, "gpt-4o")
    assert count("gpt-4o", system="Be brief.") > count("gpt-4o")


@pytest.mark.parametrize(("model", "factor"), [("claude-sonnet-4-5", 1.16), ("claude-opus-4-8", 1.34)])
def test_a_claude_counts_more(model: str, factor: float) -> None:
    assert count(model) == math.ceil(count("gpt-4o") * factor)


@pytest.mark.parametrize(("choice", "added"), [(None, 346), ({"type": "none"}, 346), ({"type": "any"}, 313)])
def test_tools_cost_a_claude_a_prompt_of_their_own(choice: dict[str, Any] | None, added: int) -> None:
    tools = {"tools": [{"name": "look", "input_schema": {}}], "tool_choice": choice}
    assert count("claude-sonnet-4-5", **tools) == math.ceil(count("gpt-4o", **tools) * 1.16) + added


def test_images_are_counted_by_their_size() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": png(750, 100).partition(",")[2]}
    content = [{"type": "text", "text": HELLO[0]["content"]}, {"type": "image", "source": source}]
    assert count("gpt-4o", messages=[{"role": "user", "content": content}]) == count("gpt-4o") + 100


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (png(200, 200), 54),
        (png(1_000, 1_000), 1_334),
        (png(1, 1), 1),
        (png(8_000, 100), 41),
        (png(4_000, 4_000), MAX_IMAGE_TOKENS),
        (png(0, 10), MAX_IMAGE_TOKENS),
        (jpeg(300, 250), 100),
        (jpeg(300, 250, marker=0xC2), 100),
        (url(b"\xff\xd8\xff\xe0\x00\x06ab\0\0", "jpeg"), MAX_IMAGE_TOKENS),
        (url(b"GIF89a" + struct.pack("<HH", 300, 250), "gif"), 100),
        (webp(b"VP8 ", b"\0" * 6 + struct.pack("<HH", 300, 250)), 100),
        (webp(b"VP8L", b"\x2f" + (299 | 249 << 14).to_bytes(4, "little")), 100),
        (webp(b"VP8X", b"\0" * 4 + (299).to_bytes(3, "little") + (249).to_bytes(3, "little")), 100),
        (webp(b"WHAT", b""), MAX_IMAGE_TOKENS),
        (url(b"RIFF\0\0\0\0WEBPVP8 ", "webp"), MAX_IMAGE_TOKENS),
        (url(b"BM"), MAX_IMAGE_TOKENS),
        ("data:image/png;base64,x", MAX_IMAGE_TOKENS),
        ("https://a.example/x.png", MAX_IMAGE_TOKENS),
    ],
)
def test_the_size_of_an_image(image: str, expected: int) -> None:
    assert image_tokens(image) == expected
