"""Values that the API document shows for responses, completions of texts and moderations."""

from __future__ import annotations

from typing import Any

RESPONSE_ID = "resp_01kaf2s8e6e4xvh1w0k5t3q9bz"
MESSAGE_ID = "msg_019a8f2ca1c6713bd88780996c3ba57f0000"
RESPONSE_REQUEST: dict[str, Any] = {
    "model": "sandbox-small",
    "instructions": "Answer in one sentence.",
    "input": "Why is the sky blue?",
}
RESPONSE: dict[str, Any] = {
    "id": RESPONSE_ID,
    "object": "response",
    "created_at": 1_795_250_000,
    "completed_at": 1_795_250_001,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "background": False,
    "instructions": "Answer in one sentence.",
    "max_output_tokens": None,
    "metadata": {},
    "model": "sandbox-small",
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "output": [
        {
            "type": "message",
            "id": MESSAGE_ID,
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "annotations": [], "logprobs": [], "text": "Air scatters short waves most."}
            ],
        }
    ],
    "usage": {
        "input_tokens": 19,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 26,
    },
}
RESPONSE_CANCELLED: dict[str, Any] = {
    **RESPONSE, "status": "cancelled", "background": True, "completed_at": None, "usage": None,
}  # fmt: skip
RESPONSE_DELETED: dict[str, Any] = {"id": RESPONSE_ID, "object": "response", "deleted": True}
RESPONSE_STREAM = (
    'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
    f'"item_id":"{MESSAGE_ID}","output_index":0,"content_index":0,"delta":"Air","logprobs":[],"sequence_number":4}}\n\n'
)
INPUT_ITEMS: dict[str, Any] = {
    "object": "list",
    "data": [
        {
            "id": "msg_019a8f2ca1c6713bd88780996c3ba57f8000",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Why is the sky blue?"}],
        }
    ],
    "first_id": "msg_019a8f2ca1c6713bd88780996c3ba57f8000",
    "last_id": "msg_019a8f2ca1c6713bd88780996c3ba57f8000",
    "has_more": False,
}
INPUT_TOKENS: dict[str, Any] = {"object": "response.input_tokens", "input_tokens": 19}
TEXT_COMPLETION_REQUEST: dict[str, Any] = {"model": "sandbox-small", "prompt": "The sky is blue because"}
TEXT_COMPLETION: dict[str, Any] = {
    "id": "cmpl-019a8f2ca1c6713bd88780996c3ba57f",
    "object": "text_completion",
    "created": 1_795_250_000,
    "model": "sandbox-small",
    "choices": [{"text": "air scatters short waves most.", "index": 0, "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11},
}
MODERATION_REQUEST: dict[str, Any] = {"model": "portico-moderation", "input": "Why is the sky blue?"}
MODERATION: dict[str, Any] = {
    "id": "modr_01kaf2s8e6e4xvh1w0k5t3q9bz",
    "model": "portico-moderation",
    "results": [
        {
            "flagged": False,
            "categories": {"harassment": False, "violence": False},
            "category_scores": {"harassment": 0.0, "violence": 0.0},
            "category_applied_input_types": {"harassment": ["text"], "violence": ["text"]},
        }
    ],
}
