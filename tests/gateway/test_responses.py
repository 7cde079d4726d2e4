"""Responses over the edge, judged by the official SDK: answered, kept, gone on from, listed, deleted."""

from __future__ import annotations

import openai
import pytest
from openai import AsyncOpenAI

from apps.gateway.models import StoredResponse
from tests.gateway.driving import Exchange

pytestmark = pytest.mark.asyncio
MODEL = "sandbox-small"


async def test_a_text_is_answered_and_metered_as_one_call(sdk: AsyncOpenAI, records) -> None:
    answer = await sdk.responses.create(model=MODEL, input="[echo:good day]", instructions="Be kind.")
    assert (answer.output_text, answer.status, answer.instructions) == ("good day", "completed", "Be kind.")
    assert answer.error is None
    [record] = await records()
    assert answer.id == StoredResponse(id=record.id).public_id
    assert (record.endpoint, record.status, record.is_stream) == ("responses", "ok", False)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (record.prompt_tokens, record.completion_tokens)
    assert answer.usage.total_tokens == record.prompt_tokens + record.completion_tokens


async def test_a_stream_is_numbered_events_whose_last_holds_everything(sdk: AsyncOpenAI, in_database) -> None:
    stream = await sdk.responses.create(model=MODEL, input="[echo:good day]", stream=True)
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    last = events[-1].response
    assert last.output_text == "good day"
    assert {event.response.id for event in events if hasattr(event, "response")} == {last.id}
    kept = await in_database(StoredResponse.objects.get)
    assert (kept.public_id, kept.status, kept.last_sequence) == (last.id, "completed", len(events) - 1)


async def test_a_response_goes_on_from_another(sdk: AsyncOpenAI) -> None:
    first = await sdk.responses.create(model=MODEL, input="[echo:one]")
    second = await sdk.responses.create(model=MODEL, input="[echo:two]", previous_response_id=first.id)
    third = await sdk.responses.create(model=MODEL, input="What was said?", previous_response_id=second.id)
    assert third.previous_response_id == second.id
    items = [item async for item in sdk.responses.input_items.list(third.id, order="asc")]
    assert [item.content[0].text for item in items] == ["[echo:one]", "one", "[echo:two]", "two", "What was said?"]


async def test_what_was_not_stored_cannot_be_gone_on_from(sdk: AsyncOpenAI, in_database) -> None:
    first = await sdk.responses.create(model=MODEL, input="[echo:one]", store=False)
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model=MODEL, input="two", previous_response_id=first.id)
    assert caught.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(first.id)
    assert await in_database(StoredResponse.objects.count) == 0


async def test_a_deleted_response_is_gone(sdk: AsyncOpenAI) -> None:
    answer = await sdk.responses.create(model=MODEL, input="[echo:one]")
    assert (await sdk.responses.retrieve(answer.id)).output_text == "one"
    await sdk.responses.delete(answer.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(answer.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.delete(answer.id)


async def test_a_response_in_the_background_goes_on_without_its_client(sdk: AsyncOpenAI, secret: str) -> None:
    begun = await sdk.responses.create(model=MODEL, input="[echo:good day][slow:20]", background=True)
    assert (begun.status, begun.output) == ("queued", [])
    followed = await Exchange(f"/v1/responses/{begun.id}", query="stream=true", secret=secret, method="GET").finish()
    assert followed.content.count(b"event: response.completed") == 1
    assert (await sdk.responses.retrieve(begun.id)).output_text == "good day"


async def test_a_response_in_the_background_is_cancelled(sdk: AsyncOpenAI, records) -> None:
    begun = await sdk.responses.create(model=MODEL, input="[long:1000][slow:20]", background=True)
    stopped = await sdk.responses.cancel(begun.id)
    assert stopped.status == "cancelled"
    assert (await sdk.responses.cancel(begun.id)).status == "cancelled"
    [record] = await records()
    assert record.status == "cancelled"
