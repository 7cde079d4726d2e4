"""Examples of the API document, true to the form that `selectors.presenting` gives."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample

CONVERSATION: dict[str, Any] = {
    "id": "conv_01kar3d6f2e8k8w5g0q4z1v7xn",
    "title": "Names for a lighthouse keeper's cat",
    "model": "sandbox-small",
    "active_message_id": "msg_01kar3d6f4fj1tq4m5c2b8s9ye",
    "message_count": 2,
    "last_message_at": "2026-11-21T09:00:00.250000Z",
    "created_at": "2026-11-21T09:00:00Z",
    "updated_at": "2026-11-21T09:00:00.250000Z",
    "version": 2,
}
QUESTION: dict[str, Any] = {
    "id": "msg_01kar3d6f3ezztm4y4q0n6h3aw",
    "conversation_id": CONVERSATION["id"],
    "parent_id": None,
    "role": "user",
    "content": "Names for a lighthouse keeper's cat",
    "model": None,
    "status": "complete",
    "error": None,
    "run_id": None,
    "usage": None,
    "siblings": ["msg_01kar3d6f3ezztm4y4q0n6h3aw"],
    "version": 1,
    "created_at": "2026-11-21T09:00:00.100000Z",
    "updated_at": "2026-11-21T09:00:00.100000Z",
}
ANSWER: dict[str, Any] = {
    **QUESTION,
    "id": CONVERSATION["active_message_id"],
    "parent_id": QUESTION["id"],
    "role": "assistant",
    "content": "Fresnel, Beacon, or simply Captain.",
    "model": "sandbox-small",
    "run_id": "run_01kar3d6f5fs3r8c1x2v9w0d7k",
    "usage": {"prompt_tokens": 12, "completion_tokens": 9, "cost": "0.000000"},
    "siblings": [CONVERSATION["active_message_id"]],
}
RUNNING: dict[str, Any] = {**ANSWER, "content": "", "status": "running", "usage": None}
SUMMARY: dict[str, Any] = {
    "conversation_id": CONVERSATION["id"],
    "text": "The keeper looks for a name for the cat; Fresnel and Beacon are suggested.",
    "method": "model",
    "model": "gpt-5-mini",
    "message_id": ANSWER["id"],
    "message_count": 2,
    "cost": "0.000120",
    "is_outdated": False,
    "made_at": "2026-11-21T09:01:00Z",
}
CHAT = {"content": QUESTION["content"], "model": "sandbox-small"}
STREAM = (
    'id: 1\nevent: run.started\ndata: {"run_id":"run_01kar3d6f5fs3r8c1x2v9w0d7k","conversation":{…},"message":{…},"answer":{…}}\n\n'
    'id: 2\nevent: delta\ndata: {"text":"Fresnel, Beacon, "}\n\n'
    'id: 3\nevent: delta\ndata: {"text":"or simply Captain."}\n\n'
    'id: 4\nevent: run.completed\ndata: {"answer":{…}}\n\n'
)


def sent(value: Any, name: str = "A request") -> OpenApiExample:
    """Return an example of a request body."""
    return OpenApiExample(name, value=value, request_only=True)


def answered(
    value: Any, status: int = 200, name: str = "An answer", media_type: str = "application/json"
) -> OpenApiExample:
    """Return an example of an answer."""
    return OpenApiExample(name, value=value, response_only=True, status_codes=[str(status)], media_type=media_type)
