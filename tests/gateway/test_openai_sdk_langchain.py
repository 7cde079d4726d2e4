"""LangChain's ChatOpenAI and OpenAIEmbeddings in front of the edge. A module of its own: to import it takes seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from apps.gateway.edge import GatewayApplication
from tests.gateway.conftest import OFFLINE_SECRET
from tests.gateway.messaging import Gate, open_gate
from tests.support.upstreams import Scenario, ToolCall

pytestmark = pytest.mark.asyncio


class Weather(BaseModel):
    """The weather of a place."""

    city: str
    degrees: int


@tool
def look(q: str) -> str:
    """Look it up."""
    return q


@pytest_asyncio.fixture(params=["openai", "anthropic", "ollama"])
async def gate(request: pytest.FixtureRequest, offline, monkeypatch) -> AsyncIterator[Gate]:
    async with open_gate(request.param, offline, monkeypatch) as found:
        yield found


def make_model(**options: Any) -> ChatOpenAI:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=GatewayApplication()), base_url="http://portico")
    return ChatOpenAI(
        model="alias",
        api_key=OFFLINE_SECRET,
        base_url="http://portico/v1",
        http_async_client=http,
        max_retries=0,
        **options,
    )


@pytest.mark.parametrize("uses_responses", [False, True])
async def test_answers_streams_tools_and_forms(gate: Gate, uses_responses: bool) -> None:
    options = {"use_responses_api": True, "store": False} if uses_responses else {}
    model = make_model(**options)
    whole = await model.ainvoke("Hi")
    pieces = [chunk async for chunk in model.astream("Hi")]
    assert whole.text == "".join(piece.text for piece in pieces) == "Hello, world!"
    assert whole.usage_metadata is not None
    assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (11, 5)
    gate.upstream.play(Scenario(tool_calls=(ToolCall("call_1", "look", '{"q": "x"}'),)))
    calling = await model.bind_tools([look]).ainvoke("Hi")
    assert [(call["name"], call["args"]) for call in calling.tool_calls] == [("look", {"q": "x"})]
    gate.upstream.play(Scenario())
    result = ToolMessage("found", tool_call_id=calling.tool_calls[0]["id"])
    last = await model.bind_tools([look]).ainvoke([HumanMessage("Hi"), calling, result])
    assert last.text == "Hello, world!"
    gate.upstream.play(Scenario(pieces=('{"city": "Ulm",', ' "degrees": 7}')))
    assert await model.with_structured_output(Weather).ainvoke("Hi") == Weather(city="Ulm", degrees=7)
