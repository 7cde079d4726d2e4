"""Events of a message as strict clients read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from apps.gateway.providers.base import Usage

REQUEST_ID = UUID("0191b3a6-0000-7000-8000-000000000001")


@dataclass
class Answered:
    """A call as a dialect sees it."""

    usage: Usage = field(default_factory=lambda: Usage(prompt_tokens=11, completion_tokens=5))
    request_id: UUID = REQUEST_ID
    public_id: str = "req_1"
    model: str = "asked-model"
    upstream_model: str = "upstream-model"
    created: int = 1_700_000_000
    prompt_estimate: int = 9

    def settled_usage(self) -> Usage:
        return self.usage


def read_events(content: bytes) -> list[dict[str, Any]]:
    """The events of a body; each has to be named as its data says."""
    events = []
    for frame in content.decode().split("\n\n")[:-1]:
        name, data = frame.split("\n")
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def collect_message(content: bytes) -> dict[str, Any]:
    """Put a message together from its events, refusing whatever breaks the order that clients rely on."""
    events = [event for event in read_events(content) if event["type"] != "ping"]
    message: dict[str, Any] = events[0]["message"]
    assert events[0]["type"] == "message_start"
    assert message["usage"]["input_tokens"] > 0
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    blocks = message["content"]
    assert blocks == []
    is_open, inputs = False, ""
    for event in events[1:-2]:
        match event:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                assert not is_open
                assert index == len(blocks)
                blocks.append(block)
                is_open, inputs = True, ""
            case {"type": "content_block_delta", "index": index, "delta": delta}:
                assert is_open
                assert index == len(blocks) - 1
                inputs += _apply(blocks[-1], delta)
            case {"type": "content_block_stop", "index": index}:
                assert is_open
                assert index == len(blocks) - 1
                is_open = False
                _finish(blocks[-1], inputs)
            case _:
                raise AssertionError(f"{event['type']} has no place here")
    assert not is_open
    message.update(events[-2]["delta"])
    message["usage"].update(events[-2]["usage"])
    return message


_FIELDS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("thinking", "signature"),
}


def _apply(block: dict[str, Any], delta: dict[str, Any]) -> str:
    if delta["type"] == "input_json_delta":
        assert block["type"] == "tool_use"
        return str(delta["partial_json"])
    kind, name = _FIELDS[delta["type"]]
    assert block["type"] == kind
    block[name] += delta[name]
    return ""


def _finish(block: dict[str, Any], inputs: str) -> None:
    if block["type"] == "tool_use":
        assert inputs
        block["input"] = inputs
