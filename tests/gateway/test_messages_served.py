"""Messages behind the real server, with the blocking SDK and the database: what a caller gets is what is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from django.test import Client

from apps.billing.models import UsageRecord
from tests.gateway.test_edge_served import Served

ECHO: list[Any] = [{"role": "user", "content": "[echo:good day to you]"}]


@pytest.fixture
def server(sandbox, key, data_dir) -> Iterator[Served]:
    """Return a running server over the sandbox."""
    found = Served()
    yield found
    found.stop()


@pytest.fixture
def sdk(server: Served, secret: str) -> Iterator[Anthropic]:
    """Return the blocking SDK in front of the server."""
    with Anthropic(base_url=server.url, api_key=secret, max_retries=0) as found:
        yield found


def test_the_blocking_sdk_gets_messages_streams_and_counts(sdk: Anthropic) -> None:
    whole = sdk.messages.create(
        model="sandbox-small",
        max_tokens=100,
        messages=ECHO,
        metadata={"user_id": "user_ab_account_c_session_d"},
        extra_headers={"x-portico-tags": "docs"},
    )
    with sdk.messages.stream(model="sandbox-small", max_tokens=100, messages=ECHO) as stream:
        streamed = stream.get_final_message()
    counted = sdk.messages.count_tokens(model="sandbox-small", messages=ECHO)
    assert [block.to_dict() for block in whole.content] == [{"type": "text", "text": "good day to you"}]
    assert streamed.content[0].text == "good day to you"  # type: ignore[union-attr]
    assert whole.usage.output_tokens == streamed.usage.output_tokens == 4
    assert counted.input_tokens > 0


def test_what_was_said_is_what_is_recorded(server: Served, sdk: Anthropic) -> None:
    metadata: Any = {"user_id": "user_ab_account_c_session_d", "tags": "docs,daily"}
    answers = [
        sdk.messages.create(model="sandbox-small", max_tokens=100, messages=ECHO, metadata=metadata) for _ in range(2)
    ]
    server.stop()
    records = list(UsageRecord.objects.all())
    assert [record.endpoint for record in records] == ["messages", "messages"]
    assert {record.end_user for record in records} == {"user_ab_account_c"}
    assert [sorted(record.tags) for record in records] == [["daily", "docs"]] * 2
    assert sorted((record.prompt_tokens, record.completion_tokens) for record in records) == sorted(
        (answer.usage.input_tokens, answer.usage.output_tokens) for answer in answers
    )


def test_tools_of_the_sandbox_are_called(sdk: Anthropic) -> None:
    tools: Any = [{"name": "look", "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}}}]
    asked: list[Any] = [{"role": "user", "content": '[tool:look {"q": "x"}]'}]
    with sdk.messages.stream(model="sandbox-small", max_tokens=100, messages=asked, tools=tools) as stream:
        message = stream.get_final_message()
    [block] = message.content
    assert (block.type, block.name, block.input, message.stop_reason) == ("tool_use", "look", {"q": "x"}, "tool_use")


def test_the_probe_of_claude_code_is_answered(db: None) -> None:
    assert Client().head("/").status_code < 400
