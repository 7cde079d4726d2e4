"""Responses followed, resumed, cancelled and refused over the edge; from this process and as if from another."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import openai
import orjson
import pytest
from django.db import OperationalError
from django.utils import timezone
from openai import AsyncOpenAI

from apps.core.ids import encode_id, time_of, uuid7
from apps.gateway.errors import AccessWithdrawn
from apps.gateway.models import ResponseEvents, StoredResponse
from apps.gateway.selectors.responses import find_response
from apps.gateway.services.responses import changing
from apps.gateway.services.responses import desk as desk_module
from apps.gateway.services.responses.changing import request_cancellation
from apps.gateway.services.responses.desk import desk_of
from apps.gateway.services.responses.reading import Follower
from tests.factories.users import ApiKeyFactory
from tests.gateway.driving import Exchange
from tests.gateway.test_responses_keeping import OTHER, event, live
from tests.support.upstreams import Scenario, Upstream

pytestmark = pytest.mark.asyncio
MODEL = "sandbox-small"
SLOW = "[long:60][slow:10]"


def create(secret: str, given: str = SLOW, **fields: Any) -> Exchange:
    return Exchange("/v1/responses", secret=secret, body={"model": MODEL, "input": given, **fields})


def follow(secret: str, response_id: str, *, after: int | None = None) -> Exchange:
    query = "stream=true" if after is None else f"stream=true&starting_after={after}"
    return Exchange(f"/v1/responses/{response_id}", query=query, secret=secret, method="GET")


def id_of(content: bytes) -> str:
    found = re.search(rb'"id":"(resp_\w+)"', content)
    assert found is not None
    return found[1].decode()


def split(content: bytes) -> list[bytes]:
    return [part for part in content.split(b"\n\n") if part and not part.startswith(b":")]


async def wait_until_over(secret: str, response_id: str) -> dict[str, Any]:
    await follow(secret, response_id).finish()
    return (await Exchange(f"/v1/responses/{response_id}", secret=secret, method="GET").finish()).json()


async def test_a_finished_stream_is_told_again_from_any_place(runtime, secret: str) -> None:
    sent = (await create(secret, "[echo:good day to you]", stream=True).finish()).content
    response_id = id_of(sent)
    assert (await follow(secret, response_id).finish()).content == sent
    events = split(sent)
    for after in (0, 4, len(events) - 2):
        again = await follow(secret, response_id, after=after).finish()
        assert split(again.content) == events[after + 1 :]
    assert (await follow(secret, response_id, after=len(events) - 1).finish()).content == b""


async def test_a_stream_that_goes_on_is_followed_from_a_place(runtime, secret: str, records) -> None:
    first = create(secret, background=True, stream=True)
    await first.wait_for(b'"sequence_number":9}')
    response_id = id_of(first.content)
    late = await follow(secret, response_id, after=5).finish()
    await first.finish()
    assert split(late.content) == split(first.content)[6:]
    assert [name for name in (b"created", b"queued", b"in_progress") if b"response." + name in first.content] == [
        b"created",
        b"queued",
        b"in_progress",
    ]
    assert [record.status for record in await records()] == ["ok"]


async def test_a_background_response_outlives_its_client(runtime, secret: str, records) -> None:
    first = create(secret, background=True, stream=True)
    await first.wait_for(b"response.output_text.delta")
    first.leave()
    await first.finish()
    seen = split(first.content)
    rest = await follow(secret, id_of(first.content), after=len(seen) - 1).finish()
    numbers = [orjson.loads(part.split(b"\ndata: ")[1])["sequence_number"] for part in (*seen, *split(rest.content))]
    assert numbers == list(range(len(numbers)))
    assert b"response.completed" in rest.content
    assert [record.status for record in await records()] == ["ok"]


async def test_a_foreground_response_ends_with_its_client(runtime, secret: str, records) -> None:
    first = create(secret, "[long:1000][slow:10]", stream=True)
    await first.wait_for(b"response.output_text.delta")
    first.leave()
    await first.finish()
    found = await wait_until_over(secret, id_of(first.content))
    assert found["status"] == "cancelled"
    assert found["output"][0]["content"][0]["text"] != ""
    assert [record.status for record in await records()] == ["cancelled"]


async def test_a_stream_that_somebody_cancels_ends_properly(runtime, secret: str) -> None:
    first = create(secret, "[long:1000][slow:10]", stream=True)
    await first.wait_for(b"response.output_text.delta")
    response_id = id_of(first.content)
    stopped = await Exchange(f"/v1/responses/{response_id}/cancel", secret=secret).finish()
    await first.finish()
    assert (stopped.status, stopped.json()["status"]) == (200, "cancelled")
    assert split(first.content)[-1].startswith(b"event: response.incomplete")
    assert first.is_complete


async def test_another_process_hears_of_a_cancellation(runtime, secret: str, in_database) -> None:
    first = create(secret, "[long:1000][slow:10]", background=True)
    response_id = id_of((await first.finish()).content)
    row = await in_database(StoredResponse.objects.get)
    actor = (await runtime.callers.find(secret)).actor
    assert await in_database(lambda: request_cancellation(actor=actor, response_id=row.id))
    assert (await wait_until_over(secret, response_id))["status"] == "cancelled"


async def make_foreign(runtime, secret: str, in_database) -> StoredResponse:
    """Store a response as another process would that is writing it."""
    actor = (await runtime.callers.find(secret)).actor
    response_id = uuid7()
    row = StoredResponse(
        id=response_id, created_at=timezone.now(), organization_id=actor.organization_id, user_id=actor.user_id,
        model=MODEL, status="in_progress", is_stream=True, holder_id=OTHER, input="[]",
        document=orjson.dumps({"id": encode_id("resp", response_id), "status": "in_progress", "output": []}).decode(),
    )  # fmt: skip
    await in_database(lambda: (live(OTHER), row.save(), add_event(row, 0)))
    return row


def add_event(row: StoredResponse, number: int) -> None:
    ResponseEvents.objects.create(
        created_at=time_of(row.id), response_id=row.id, first=number, last=number, events=event(number)
    )


def finish(row: StoredResponse, status: str = "completed") -> None:
    add_event(row, 1)
    document = orjson.dumps({"id": row.public_id, "status": status, "output": []}).decode()
    StoredResponse.objects.filter(id=row.id).update(
        status=status, finished_at=timezone.now(), last_sequence=1, document=document
    )


async def test_a_response_of_another_process_is_followed(runtime, secret: str, in_database) -> None:
    row = await make_foreign(runtime, secret, in_database)
    reading = follow(secret, row.public_id)
    await reading.wait_for(event(0).encode())
    await in_database(lambda: finish(row))
    assert (await reading.finish()).content == (event(0) + event(1)).encode()


async def test_a_response_of_another_process_is_cancelled_by_it(runtime, secret: str, in_database, monkeypatch) -> None:
    row = await make_foreign(runtime, secret, in_database)

    def look_again(**asked: Any) -> StoredResponse:
        # By now the other process has seen what it was asked for.
        assert StoredResponse.objects.get(id=row.id).cancel_requested_at is not None
        finish(row, "cancelled")
        return find_response(**asked)

    monkeypatch.setattr(changing, "request_cancellation", request_then(monkeypatch, look_again))
    stopped = await Exchange(f"/v1/responses/{row.public_id}/cancel", secret=secret).finish()
    assert stopped.json()["status"] == "cancelled"


def request_then(monkeypatch, look_again) -> Any:
    """Return the request of a cancellation, after which looking does something."""

    def request(**asked: Any) -> bool:
        is_active = request_cancellation(**asked)
        monkeypatch.setattr(changing, "find_response", look_again)
        return is_active

    return request


async def test_a_response_that_is_not_complete_cannot_be_gone_on_from(runtime, sdk, secret, in_database) -> None:
    row = await make_foreign(runtime, secret, in_database)
    with pytest.raises(openai.BadRequestError, match="not complete yet"):
        await sdk.responses.create(model=MODEL, input="a", previous_response_id=row.public_id)


async def test_a_chain_with_a_hole_cannot_be_gone_on_from(sdk: AsyncOpenAI) -> None:
    first = await sdk.responses.create(model=MODEL, input="[echo:a]")
    second = await sdk.responses.create(model=MODEL, input="[echo:b]", previous_response_id=first.id)
    await sdk.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError, match="was deleted") as caught:
        await sdk.responses.create(model=MODEL, input="c", previous_response_id=second.id)
    assert caught.value.param == "previous_response_id"
    with pytest.raises(openai.BadRequestError, match="does not exist"):
        await sdk.responses.create(model=MODEL, input="c", previous_response_id="nothing")


async def test_items_are_referred_to_by_name(sdk: AsyncOpenAI, runtime) -> None:
    first = await sdk.responses.create(model=MODEL, input="[echo:a]")
    asked = [item async for item in sdk.responses.input_items.list(first.id)]
    given = [{"type": "item_reference", "id": asked[0].id}, {"type": "item_reference", "id": first.output[0].id}]
    second = await sdk.responses.create(model=MODEL, input=[*given, {"role": "user", "content": "c"}])
    items = [item async for item in sdk.responses.input_items.list(second.id, order="asc")]
    assert [item.content[0].text for item in items] == ["[echo:a]", "a", "c"]
    with pytest.raises(openai.BadRequestError, match="no stored item"):
        await sdk.responses.create(model=MODEL, input=[{"type": "item_reference", "id": f"msg_{uuid7().hex}0000"}])


async def test_input_items_come_in_pages(sdk: AsyncOpenAI, secret: str) -> None:
    given = [{"role": "user", "content": str(number)} for number in range(5)]
    answer = await sdk.responses.create(model=MODEL, input=given)
    page = await sdk.responses.input_items.list(answer.id, limit=2)
    assert ([item.content[0].text for item in page.data], page.has_more) == (["4", "3"], True)
    assert (page.first_id, page.last_id) == (page.data[0].id, page.data[1].id)
    everything = [item.content[0].text async for item in sdk.responses.input_items.list(answer.id, limit=2)]
    assert everything == ["4", "3", "2", "1", "0"]
    for query in ("limit=0", "limit=x", "limit=101", "order=up", "after=msg_1"):
        path = f"/v1/responses/{answer.id}/input_items"
        refused = await Exchange(path, query=query, secret=secret, method="GET").finish()
        assert (refused.status, refused.json()["error"]["param"]) == (400, query.partition("=")[0])


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items"), ("GET", "?stream=true")],
)
async def test_what_is_somebody_elses_looks_like_what_is_not_there(
    runtime, secret: str, in_database, method: str, path: str
) -> None:
    made = (await create(secret, "[echo:a]").finish()).json()["id"]
    _, stranger = await in_database(ApiKeyFactory.with_secret)
    place, _, query = path.partition("?")
    seen = await Exchange(f"/v1/responses/{made}{place}", query=query, secret=stranger, method=method).finish()
    await Exchange(f"/v1/responses/{made}", secret=secret, method="DELETE").finish()
    gone = await Exchange(f"/v1/responses/{made}{place}", query=query, secret=secret, method=method).finish()
    assert seen.status == gone.status == 404
    assert seen.content == gone.content


@pytest.mark.parametrize(
    "method_and_path",
    [("GET", "/v1/responses"), ("PUT", "/v1/responses/resp_1"), ("GET", "/v1/responses/resp_1/cancel")],
)
async def test_other_methods_are_refused(runtime, secret: str, method_and_path: tuple[str, str]) -> None:
    answer = await Exchange(method_and_path[1], secret=secret, method=method_and_path[0]).finish()
    assert answer.status == 405
    assert "allow" in answer.headers


@pytest.mark.parametrize("path", ["/v1/responses/resp_1", "/v1/responses/resp_1/more", "/v1/responses/"])
async def test_what_is_no_response_is_not_there(runtime, secret: str, path: str) -> None:
    answer = await Exchange(path, secret=secret, method="GET").finish()
    assert answer.status in {404, 405}


async def test_only_what_was_streamed_can_be_followed(runtime, secret: str) -> None:
    made = (await create(secret, "[echo:a]").finish()).json()["id"]
    refused = await follow(secret, made).finish()
    assert (refused.status, refused.json()["error"]["code"]) == (400, "gateway.response_not_streamed")
    wrong = await follow(secret, made, after=-5).finish()
    assert wrong.json()["error"]["param"] == "starting_after"


async def test_a_provider_that_breaks_off_fails_the_response(runtime, upstream: Upstream, secret: str) -> None:
    await runtime.catalogue.reload()
    upstream.play(Scenario(frames_before_error=3))
    body = {"model": "upstream-model", "input": "a", "stream": True}
    answer = await Exchange("/v1/responses", secret=secret, body=body).finish()
    last = orjson.loads(split(answer.content)[-1].split(b"\ndata: ")[1])
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"]["code"] == "server_error"
    kept = await Exchange(f"/v1/responses/{last['response']['id']}", secret=secret, method="GET").finish()
    assert kept.json() == last["response"]


@pytest.mark.parametrize(("status", "code"), [(500, "server_error"), (429, "rate_limit_exceeded")])
async def test_a_background_response_whose_provider_fails_has_failed(
    runtime, upstream: Upstream, secret: str, status: int, code: str
) -> None:
    await runtime.catalogue.reload()
    upstream.play(Scenario(status=status))
    body = {"model": "upstream-model", "input": "a", "background": True}
    made = (await Exchange("/v1/responses", secret=secret, body=body).finish()).json()["id"]
    found = await wait_until_over(secret, made)
    assert (found["status"], found["error"]["code"]) == ("failed", code)


async def test_a_defect_fails_a_background_response(runtime, secret: str, monkeypatch) -> None:
    monkeypatch.setattr("apps.gateway.services.responses.background.ResponsesWriter.write", lambda *_: 1 / 0)
    made = (await create(secret, background=True).finish()).json()["id"]
    assert (await wait_until_over(secret, made))["status"] == "failed"


async def test_a_refusal_before_the_answer_keeps_nothing(runtime, secret: str, in_database) -> None:
    answer = await create(secret, "[fail:500]", stream=True).finish()
    assert answer.status >= 500
    assert await in_database(StoredResponse.objects.count) == 0


async def test_with_the_database_away_answers_are_given_kept_and_found(
    runtime, sdk: AsyncOpenAI, secret: str, in_database, monkeypatch
) -> None:
    def fail(**_: object) -> None:
        raise OperationalError("gone")

    warm = await sdk.responses.create(model=MODEL, input="[echo:warm]", store=False)
    assert warm.output_text == "warm"
    with monkeypatch.context() as patched:
        patched.setattr(desk_module, "write_responses", fail)
        patched.setattr(desk_module, "RETRY_SECONDS", 0.05)
        first = await sdk.responses.create(model=MODEL, input="[echo:a]")
        second = await sdk.responses.create(model=MODEL, input="[echo:b]", previous_response_id=first.id)
        assert (await sdk.responses.retrieve(second.id)).output_text == "b"
        assert await in_database(StoredResponse.objects.count) == 0
    for archive in list(desk_of(runtime).archives.values()):
        await asyncio.wait_for(archive.stored.wait(), 5)
    assert await in_database(StoredResponse.objects.count) == 2
    monkeypatch.setattr("apps.gateway.services.responses.reading.find_response", fail)
    with pytest.raises(openai.InternalServerError) as caught:
        await sdk.responses.retrieve(second.id)
    assert (caught.value.status_code, "retry-after" in caught.value.response.headers) == (503, True)


async def test_a_response_is_deleted_while_it_is_written(runtime, secret: str, in_database) -> None:
    first = create(secret, "[long:1000][slow:10]", background=True, stream=True)
    await first.wait_for(b"response.output_text.delta")
    response_id = id_of(first.content)
    gone = await Exchange(f"/v1/responses/{response_id}", secret=secret, method="DELETE").finish()
    assert gone.json() == {"id": response_id, "object": "response", "deleted": True}
    await first.finish()
    assert desk_of(runtime).archives == {}
    assert await in_database(lambda: (StoredResponse.objects.count(), ResponseEvents.objects.count())) == (0, 0)


async def test_a_deletion_that_fails_leaves_the_response(runtime, secret: str, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("gone")

    first = create(secret, background=True, stream=True)
    await first.wait_for(b"response.output_text.delta")
    with monkeypatch.context() as patched:
        patched.setattr("apps.gateway.services.responses.changing._delete_if_stored", fail)
        refused = await Exchange(f"/v1/responses/{id_of(first.content)}", secret=secret, method="DELETE").finish()
    assert refused.status == 503
    assert b"response.completed" in (await first.finish()).content
    assert (await wait_until_over(secret, id_of(first.content)))["status"] == "completed"


async def test_who_loses_the_right_to_call_stops_following(runtime, secret: str, in_database, key) -> None:
    row = await make_foreign(runtime, secret, in_database)
    reading = follow(secret, row.public_id)
    await reading.wait_for(event(0).encode())
    await in_database(lambda: type(key[0]).objects.filter(id=key[0].id).update(revoked_at=timezone.now()))
    runtime._identity_changed(str(key[0].id))
    await reading.finish()
    assert split(reading.content)[-1].startswith(b"event: error\n")
    assert b"gateway.access_withdrawn" in reading.content


async def test_a_quiet_stream_is_kept_open(runtime, secret: str, in_database, monkeypatch) -> None:
    monkeypatch.setattr("apps.gateway.edge.responses.PING_SECONDS", 0.05)
    row = await make_foreign(runtime, secret, in_database)
    reading = follow(secret, row.public_id)
    await reading.wait_for(b": ping\n\n")
    reading.leave()
    await reading.finish()


async def test_a_follower_waits_while_the_database_is_away(runtime, secret: str, in_database, monkeypatch) -> None:
    row = await make_foreign(runtime, secret, in_database)
    actor = (await runtime.callers.find(secret)).actor
    follower = Follower(runtime=runtime, actor=actor, response_id=row.id, after=0)
    with monkeypatch.context() as patched:
        patched.setattr("apps.gateway.services.responses.reading.read_stretch", lambda **_: 1 / 0)
        patched.setattr(runtime.loader, "load", fail_to_load)
        assert await follower.read(timeout_seconds=0.01) == ("", False)
    await in_database(lambda: finish(row))
    assert await follower.read(timeout_seconds=5) == (event(1), True)
    follower.end(AccessWithdrawn())
    with pytest.raises(AccessWithdrawn):
        await follower.read(timeout_seconds=5)


async def fail_to_load(read: object) -> None:
    raise OperationalError("gone")


async def test_what_is_deleted_while_it_is_followed_ends_the_stream(runtime, secret: str, in_database) -> None:
    row = await make_foreign(runtime, secret, in_database)
    reading = follow(secret, row.public_id)
    await reading.wait_for(event(0).encode())
    await in_database(lambda: StoredResponse.objects.all().delete())
    await reading.finish()
    assert b"gateway.response_unknown" in reading.content


async def test_a_dropped_search_is_told_in_a_header(runtime, secret: str) -> None:
    tools = [{"type": "function", "name": "f", "parameters": {}}, {"type": "web_search"}]
    answer = await create(secret, "[echo:a]", tools=tools).finish()
    assert answer.headers["x-portico-dropped-tools"] == "web_search"
    assert [tool["type"] for tool in answer.json()["tools"]] == ["function"]


async def test_tags_in_metadata_reach_the_usage_record(runtime, secret: str, records) -> None:
    await create(secret, "[echo:a]", metadata={"tags": "red,blue"}).finish()
    [record] = await records()
    assert record.tags == ["red", "blue"]


async def test_an_answer_that_the_server_ends_is_kept_as_cancelled(runtime, secret: str) -> None:
    first = create(secret, "[long:1000][slow:10]", stream=True)
    await first.wait_for(b"response.output_text.delta")
    first.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first.task
    assert (await wait_until_over(secret, id_of(first.content)))["status"] == "cancelled"


async def test_a_background_response_is_cancelled_before_it_began(runtime, secret: str) -> None:
    made = (await create(secret, "[stall:30]", background=True).finish()).json()["id"]
    stopped = await Exchange(f"/v1/responses/{made}/cancel", secret=secret).finish()
    assert (stopped.json()["status"], stopped.json()["output"]) == ("cancelled", [])
