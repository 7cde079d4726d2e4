"""A streamed chat as the numbered events of a response.

The names of items and the numbers of events follow from the response's id and the chunks alone.
"""

from __future__ import annotations

import time
from typing import Any

import orjson

from apps.core.errors import AppError
from apps.gateway.dialects.base import Answering
from apps.gateway.dialects.responses.objects import ResponseOptions, describe_response, describe_usage
from apps.gateway.dialects.responses.output import CallPart, MessagePart, Part, ReasoningPart
from apps.gateway.providers.base import Chunk, Completion

PING = b": ping\n\n"
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponsesWriter:
    """Writes one response. `response` is the object as the last event shows it; None before the end."""

    def __init__(self, call: Answering, options: ResponseOptions) -> None:
        self.ping = PING
        self.options = options
        self.response_id = call.request_id
        self.sequence = 0
        """The number that the next event gets."""
        self.response: dict[str, Any] = {}
        self._call = call
        self._parts: list[Part] = []
        self._open: Part | None = None
        self._calls: dict[int, CallPart] = {}
        self._finish_reason: str | None = None
        self._out: list[bytes] = []

    # What the edge calls

    def begin(self) -> bytes:
        """Return the first events. Does nothing the second time."""
        if self.sequence == 0:
            status = "queued" if self.options.is_background else "in_progress"
            self._lifecycle("created", status)
            if self.options.is_background:
                self._lifecycle("queued", status)
            self._lifecycle("in_progress", "in_progress")
        return self._drain()

    def write(self, batch: list[Chunk]) -> bytes:
        """Return the events of one network read."""
        head = self.begin() if self.sequence == 0 else b""
        is_plain = not self.options.wants_logprobs
        for chunk in batch:
            if is_plain and chunk.text and not chunk.other_text and chunk.finish_reason is None:
                self._message().add_text(chunk.text, None)
            elif chunk.data and not chunk.is_usage_chunk:
                for choice in orjson.loads(chunk.data).get("choices") or ():
                    if not choice.get("index"):
                        self._take(choice.get("delta") or {}, choice.get("logprobs"), choice.get("finish_reason"))
        return head + self._drain()

    def close(self) -> bytes:
        """Return the last events. The call's usage is settled by now."""
        head = self.begin() if self.sequence == 0 else b""
        reason = INCOMPLETE.get(self._finish_reason or "")
        status = "completed" if reason is None else "incomplete"
        for part in self._parts:
            # What was cut off is what came last.
            part.close("completed" if part is not self._parts[-1] else status)
        self._end(status, usage=describe_usage(self._call.settled_usage()), incomplete_reason=reason)
        return head + self._drain()

    def fail(self, error: AppError) -> bytes:
        """Return the event of a failure; nothing follows it."""
        head = self.begin() if self.sequence == 0 else b""
        self._end("failed", error=describe_failure(error))
        return head + self._drain()

    def cancel(self) -> bytes:
        """Return the last event of a response that was stopped; nothing follows it."""
        head = self.begin() if self.sequence == 0 else b""
        self._end("cancelled")
        return head + self._drain()

    def take_completion(self, completion: Completion) -> None:
        """Take an answer that came in one piece."""
        payload = completion.payload if completion.payload is not None else orjson.loads(completion.body or b"{}")
        choice = (payload.get("choices") or [{}])[0]
        message = dict(choice.get("message") or {})
        calls = message.get("tool_calls")
        message["tool_calls"] = [{**call, "index": index} for index, call in enumerate(calls or ())]
        self._take(message, choice.get("logprobs"), choice.get("finish_reason") or "stop")

    def describe(self, status: str) -> dict[str, Any]:
        """Return the object of a response that is under way."""
        return describe_response(
            self.options, response_id=self.response_id, created=self._call.created, status=status, output=[]
        )

    # What parts call

    def emit(self, name: str, fields: dict[str, Any]) -> None:
        """Add an event."""
        body = orjson.dumps({"type": name, **fields, "sequence_number": self.sequence})
        self._out.append(b"event: %s\ndata: %s\n\n" % (name.encode(), body))
        self.sequence += 1

    def emit_raw(self, head: bytes, text: str, tail: bytes) -> None:
        """Add an event whose JSON was put together before, but for a text and its number."""
        self._out.append(b"%s%s%s%d}\n\n" % (head, orjson.dumps(text), tail, self.sequence))
        self.sequence += 1

    # Chunks

    def _take(self, delta: dict[str, Any], logprobs: Any, finish_reason: str | None) -> None:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            self._reasoning().add_text(thought)
        blocks = delta.get("thinking_blocks")
        if isinstance(blocks, list) and blocks:
            self._reasoning().add_blocks(blocks)
        content = delta.get("content")
        if isinstance(content, str) and content:
            found = logprobs.get("content") if isinstance(logprobs, dict) and self.options.wants_logprobs else None
            self._message().add_text(content, found)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._message().add_refusal(refusal)
        for call in delta.get("tool_calls") or ():
            self._take_call(call)
        if finish_reason:
            self._finish_reason = finish_reason

    def _take_call(self, call: dict[str, Any]) -> None:
        index = call.get("index") or 0
        function = call.get("function") or {}
        part = self._calls.get(index)
        if part is None:
            # Calls stay open until the end: the pieces of several may come mixed.
            self._shut()
            name = self.options.toolbox.name_of(function.get("name") or "")
            part = self._calls[index] = CallPart(self, len(self._parts), call.get("id") or "", name)
            self._parts.append(part)
        arguments = function.get("arguments")
        if arguments:
            part.add_arguments(arguments)

    def _message(self) -> MessagePart:
        part = self._open
        if type(part) is not MessagePart:
            self._shut()
            part = self._open = MessagePart(self, len(self._parts))
            self._parts.append(part)
        return part

    def _reasoning(self) -> ReasoningPart:
        part = self._open
        if type(part) is not ReasoningPart:
            self._shut()
            part = self._open = ReasoningPart(self, len(self._parts), is_summary=self.options.wants_summary)
            self._parts.append(part)
        return part

    def _shut(self) -> None:
        if self._open is not None:
            self._open.close("completed")
            self._open = None

    # Events of the whole

    def _lifecycle(self, name: str, status: str) -> None:
        self.emit(f"response.{name}", {"response": self.describe(status)})

    def _end(
        self,
        status: str,
        *,
        usage: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        incomplete_reason: str | None = None,
    ) -> None:
        self.response = describe_response(
            self.options,
            response_id=self.response_id,
            created=self._call.created,
            status=status,
            output=[part.describe(part.status or "incomplete") for part in self._parts],
            usage=usage,
            error=error,
            incomplete_reason=incomplete_reason,
            completed_at=int(time.time()) if status == "completed" else None,
        )
        # Clients know no event for a cancelled response; its object says what it is.
        name = "incomplete" if status == "cancelled" else status
        self.emit(f"response.{name}", {"response": self.response})

    def _drain(self) -> bytes:
        out, self._out = self._out, []
        return b"".join(out)


def describe_failure(error: AppError) -> dict[str, Any]:
    """Return the `error` of a response that failed: OpenAI's clients know a few codes."""
    code = "rate_limit_exceeded" if error.status == 429 else "server_error"
    if error.code == "gateway.content_blocked" or error.status == 400:
        code = "invalid_prompt"
    return {"code": code, "message": error.message}
