"""Values that the API document shows of messages."""

from __future__ import annotations

from typing import Any

MESSAGE_REQUEST: dict[str, Any] = {
    "model": "sandbox-small",
    "max_tokens": 256,
    "system": "Answer in one sentence.",
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
MESSAGE: dict[str, Any] = {
    "id": "msg_0191b3a6f00070008000000000000001",
    "type": "message",
    "role": "assistant",
    "model": "sandbox-small",
    "content": [{"type": "text", "text": "Air scatters short waves most."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 13,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 7,
    },
}
MESSAGE_STREAM = (
    "event: message_start\n"
    'data: {"type":"message_start","message":{"id":"msg_0191b3a6f00070008000000000000001","type":"message",'
    '"role":"assistant","model":"sandbox-small","content":[],"stop_reason":null,"stop_sequence":null,'
    '"usage":{"input_tokens":13,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}\n\n'
    "event: content_block_start\n"
    'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
    "event: content_block_delta\n"
    'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Air"}}\n\n'
    "event: content_block_stop\n"
    'data: {"type":"content_block_stop","index":0}\n\n'
    "event: message_delta\n"
    'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    '"usage":{"input_tokens":13,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}\n\n'
    "event: message_stop\n"
    'data: {"type":"message_stop"}\n\n'
)
COUNT_REQUEST: dict[str, Any] = {
    "model": "sandbox-small",
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
COUNT: dict[str, Any] = {"input_tokens": 13}
ERROR: dict[str, Any] = {
    "type": "error",
    "error": {
        "type": "not_found_error",
        "message": "Model 'claude-9' does not exist, or this key may not use it.",
        "details": {"error_code": "gateway.model_unknown"},
    },
    "request_id": "req_01kaf2s8e6e4xvh1w0k5t3q9bz",
}
