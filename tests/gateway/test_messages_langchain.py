"""LangChain's ChatAnthropic in front of the edge. A module of its own: to import it takes a second."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool

from tests.gateway.conftest import OFFLINE_SECRET
from tests.gateway.messaging import Gate, open_gate
from tests.support.upstreams import Scenario, ToolCall

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["openai", "anthropic"])
async def gate(request: pytest.FixtureRequest, offline, monkeypatch) -> AsyncIterator[Gate]:
    async with open_gate(request.param, offline, monkeypatch) as found:
        yield found


@tool
def look(q: str) -> str:
    """Look it up."""
    return q


async def test_answers_streams_and_tools(gate: Gate) -> None:
    model = ChatAnthropic(model_name="alias", api_key=OFFLINE_SECRET, base_url="http://portico", max_retries=0)
    model.__dict__["_async_client"] = gate.sdk
    whole = await model.ainvoke("Hi")
    pieces = [chunk async for chunk in model.astream("Hi")]
    gate.upstream.play(Scenario(tool_calls=(ToolCall("toolu_1", "look", '{"q": "x"}'),)))
    calling = await model.bind_tools([look]).ainvoke("Hi")
    assert whole.content == "".join(piece.text for piece in pieces) == "Hello, world!"
    assert whole.usage_metadata is not None
    assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (11, 5)
    assert [(call["name"], call["args"]) for call in calling.tool_calls] == [("look", {"q": "x"})]
