"""The life of a call as other houses see it: falling over, stopping, paying."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from pytest_django import Settings

from apps.core.actor import Actor, ActorKind
from apps.core.errors import PermissionRefused
from apps.core.ids import uuid7
from apps.gateway.errors import (
    AccessWithdrawn,
    CallCancelled,
    CallStopped,
    JournalRefused,
    ModelUnknown,
    ParameterMissing,
)
from apps.gateway.providers.base import UpstreamError, UpstreamRejected, UpstreamUnavailable
from apps.gateway.services import open_chat, open_embedding
from apps.users.models import ApiKey
from apps.users.selectors import actor_of_key
from tests.factories.users import ApiKeyFactory
from tests.gateway.conftest import deploy_upstream, run_in_database
from tests.support.upstreams import OpenAIDialect, Scenario, Upstream, run_upstream
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio


@pytest.fixture
def caller(key) -> Actor:
    """Return the actor of `key`, as an entrance gives it."""
    return actor_of_key(key=key[0])


@pytest_asyncio.fixture
async def second(upstream: Upstream, settings: Settings, runtime):
    """Return a second server behind the same models, asked after the first."""
    async with run_upstream(OpenAIDialect()) as server:
        await run_in_database(lambda: deploy_upstream(server, settings, slug="spare", priority=1))
        await runtime.catalogue.reload()
        yield server


def ask(text: str = "hello", **fields):
    return {"model": "sandbox-small", "messages": [{"role": "user", "content": text}], **fields}


async def read(call) -> str:
    return "".join([chunk.text for batch in [b async for b in call.batches()] for chunk in batch])


async def test_a_stream_is_read_as_text_and_settled(runtime, caller: Actor, records) -> None:
    call = await open_chat(actor=caller, request=ask("[echo:one two]", stream=True), endpoint="conversations")
    assert (call.status, call.usage, call.cost_micros) == (None, None, None)
    assert await read(call) == "one two"
    assert (call.status, call.is_settled, call.was_cancelled, call.is_estimated) == ("ok", True, False, False)
    [record] = await records()
    assert (record.endpoint, record.id) == ("conversations", call.request_id)
    assert (record.cost_micros, record.completion_tokens) == (call.cost_micros, call.usage.completion_tokens)


async def test_an_answer_in_one_piece_may_be_read_twice(runtime, caller: Actor, records) -> None:
    call = await open_chat(actor=caller, request=ask("[echo:one]"), endpoint="x", request_id=uuid7())
    assert await call.result() is await call.result()
    assert len(await records()) == 1


async def test_an_embedding_is_a_call_too(runtime, caller: Actor, records) -> None:
    call = await open_embedding(
        actor=caller, request={"model": "sandbox-embedding", "input": "x", "stream": True}, endpoint="embeddings"
    )
    assert not call.is_stream
    await call.result()
    assert [record.endpoint for record in await records()] == ["embeddings"]


async def test_cancelling_from_another_task_ends_the_reading(runtime, caller: Actor, records) -> None:
    call = await open_chat(actor=caller, request=ask("[long:500][slow:20]", stream=True), endpoint="x")
    reader = asyncio.create_task(read(call))
    await asyncio.sleep(0)
    await call.cancel()
    await call.cancel()
    await asyncio.wait_for(reader, timeout=5)
    assert call.was_cancelled
    assert [record.status for record in await records()] == ["cancelled"]


async def test_cancelling_between_two_batches_closes_the_upstream(runtime, caller: Actor, records) -> None:
    call = await open_chat(actor=caller, request=ask("[long:500][slow:5]", stream=True), endpoint="x")
    batches = call.batches()
    await anext(batches)
    await call.cancel()
    assert [batch async for batch in batches] == []
    assert [record.status for record in await records()] == ["cancelled"]


async def test_cancelling_before_the_first_byte(upstream: Upstream, runtime, caller: Actor, records) -> None:
    await runtime.catalogue.reload()
    upstream.play(Scenario(is_silent=True))
    call = await open_chat(actor=caller, request=ask(model="upstream-model"), endpoint="x")
    waiting = asyncio.create_task(call.result())
    await until(lambda: upstream.received)
    await call.cancel()
    with pytest.raises(CallCancelled):
        await waiting
    assert [record.status for record in await records()] == ["cancelled"]


async def test_leaving_a_stream_alone_is_paid_as_far_as_it_came(runtime, caller: Actor, records) -> None:
    call = await open_chat(actor=caller, request=ask("[long:500][slow:5]", stream=True), endpoint="x")
    batches = call.batches()
    await anext(batches)
    await batches.aclose()
    assert [record.status for record in await records()] == ["cancelled"]


async def test_withdrawn_access_raises_in_the_reader(runtime, caller: Actor, records) -> None:
    call = await open_chat(actor=caller, request=ask("[long:500][slow:20]", stream=True), endpoint="x")
    reader = asyncio.create_task(read(call))
    await asyncio.sleep(0)
    await run_in_database(lambda: ApiKey.objects.all().delete())
    await call.recheck()
    with pytest.raises(AccessWithdrawn):
        await reader
    assert [record.error_code for record in await records()] == ["gateway.access_withdrawn"]


async def test_the_first_reason_to_end_a_call_is_the_one_that_is_told(runtime, caller: Actor, records) -> None:
    call = await open_chat(actor=caller, request=ask("[long:500][slow:20]", stream=True), endpoint="x")
    call.abort(CallStopped())
    call.abort(AccessWithdrawn())
    with pytest.raises(CallStopped):
        await read(call)
    assert [record.error_code for record in await records()] == ["gateway.call_stopped"]


async def test_a_recheck_leaves_those_alone_who_may(runtime, caller: Actor) -> None:
    call = await open_chat(actor=caller, request=ask("[echo:x]", stream=True), endpoint="x")
    await call.recheck()
    assert await read(call) == "x"


@pytest.mark.parametrize("failure", [Scenario(status=500), Scenario(status=429), Scenario(status=401)])
@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_failing_provider_is_passed_over(
    upstream: Upstream, second: Upstream, caller: Actor, records, runtime, failure: Scenario, is_stream: bool
) -> None:
    upstream.play(failure)
    call = await open_chat(actor=caller, request=ask(model="upstream-model", stream=is_stream), endpoint="x")
    text = await read(call) if is_stream else (await call.result()).finish_reason
    assert text == ("Hello, world!" if is_stream else "stop")
    assert (len(upstream.received), len(second.received)) == (1, 1)
    again = await open_chat(actor=caller, request=ask(model="upstream-model"), endpoint="x")
    await again.result()
    assert len(upstream.received) == 1, "the failed one rests"
    first_record, second_record = await records()
    assert (first_record.provider, first_record.attempts, first_record.status) == ("spare", 2, "ok")
    assert (second_record.provider, second_record.attempts) == ("spare", 1)


async def test_a_bad_request_is_not_tried_elsewhere(upstream: Upstream, second: Upstream, caller: Actor) -> None:
    upstream.play(Scenario(status=400, error_message="No.", error_param="temperature"))
    call = await open_chat(actor=caller, request=ask(model="upstream-model"), endpoint="x")
    with pytest.raises(UpstreamRejected) as refused:
        await call.result()
    assert refused.value.param == "temperature"
    assert second.received == []


async def test_a_stream_that_has_begun_does_not_fall_over(
    upstream: Upstream, second: Upstream, caller: Actor, records
) -> None:
    upstream.play(Scenario(frames_before_cut=2))
    call = await open_chat(actor=caller, request=ask(model="upstream-model", stream=True), endpoint="x")
    with pytest.raises(UpstreamError):
        await read(call)
    assert second.received == []
    assert [record.status for record in await records()] == ["error"]


async def test_a_broken_connection_is_tried_once_more(upstream: Upstream, runtime, caller: Actor, records) -> None:
    await runtime.catalogue.reload()
    await run_in_database(lambda: None)
    broken = UpstreamUnavailable("Provider 'openai' closed the connection without an answer.", status=502)
    entry = runtime.catalogue.snapshot.models["upstream-model"]
    failures = [broken]
    from apps.gateway.providers.registry import get_provider

    provider = get_provider("openai")
    complete = provider.complete

    async def fail_once(**arguments):
        if failures:
            raise failures.pop()
        return await complete(**arguments)

    provider.complete = fail_once
    try:
        call = await open_chat(actor=caller, request=ask(model="upstream-model"), endpoint="x")
        await call.result()
    finally:
        del provider.complete
    assert len(entry.routes) == 1
    assert [(record.attempts, record.status) for record in await records()] == [(2, "ok")]


async def test_all_providers_down_is_one_error_and_one_record(
    upstream: Upstream, second: Upstream, caller: Actor, records
) -> None:
    upstream.play(Scenario(status=500))
    second.play(Scenario(status=503))
    call = await open_chat(actor=caller, request=ask(model="upstream-model"), endpoint="x")
    with pytest.raises(UpstreamError) as raised:
        await call.result()
    assert raised.value.upstream_status == 503
    [record] = await records()
    assert (record.status, record.attempts, record.cost_micros, record.provider) == ("error", 2, 0, "spare")


async def test_a_defect_of_ours_is_recorded_and_raised(runtime, caller: Actor, records, monkeypatch) -> None:
    async def explode(self, **_):
        raise KeyError("a defect")

    monkeypatch.setattr("apps.gateway.providers.sandbox.SandboxProvider.complete", explode)
    call = await open_chat(actor=caller, request=ask(), endpoint="x")
    with pytest.raises(KeyError):
        await call.result()
    assert [(record.status, record.http_status) for record in await records()] == [("error", 500)]


async def test_nothing_is_forwarded_that_cannot_be_written_down(
    upstream: Upstream, runtime, caller: Actor, monkeypatch
) -> None:
    await runtime.catalogue.reload()
    monkeypatch.setattr(runtime.journal, "_is_full", True)
    call = await open_chat(actor=caller, request=ask(model="upstream-model"), endpoint="x")
    with pytest.raises(JournalRefused) as refused:
        await call.result()
    assert (refused.value.status, refused.value.retry_after_seconds) == (503, 2.0)
    assert upstream.received == []


@pytest.mark.parametrize(
    ("request_fields", "error"), [({"model": None}, ParameterMissing), ({"model": "none"}, ModelUnknown)]
)
async def test_refusals(runtime, caller: Actor, request_fields, error) -> None:
    with pytest.raises(error):
        await open_chat(actor=caller, request=ask(**request_fields), endpoint="x")


async def test_a_key_is_bound_to_its_models(runtime, records) -> None:
    bound = await run_in_database(lambda: actor_of_key(key=ApiKeyFactory(allowed_models=["another"])))
    with pytest.raises(ModelUnknown):
        await open_chat(actor=bound, request=ask(), endpoint="x")
    assert await records() == []


async def test_somebody_without_an_organization_calls_nothing(runtime) -> None:
    with pytest.raises(PermissionRefused):
        await open_chat(actor=Actor(kind=ActorKind.USER, user_id=uuid7()), request=ask(), endpoint="x")


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_reader_that_is_cancelled_before_the_first_byte(
    upstream: Upstream, runtime, caller: Actor, records, is_stream: bool
) -> None:
    await runtime.catalogue.reload()
    upstream.play(Scenario(is_silent=True))

    async def read_all() -> None:
        call = await open_chat(actor=caller, request=ask(model="upstream-model", stream=is_stream), endpoint="x")
        await call.result()

    reader = asyncio.create_task(read_all())
    await until(lambda: upstream.received)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert [record.status for record in await records()] == ["cancelled"]


async def test_a_call_that_was_cancelled_before_it_began_forwards_nothing(
    upstream: Upstream, runtime, caller: Actor, records
) -> None:
    await runtime.catalogue.reload()
    call = await open_chat(actor=caller, request=ask(model="upstream-model"), endpoint="x")
    call.abort(None)
    with pytest.raises(CallCancelled):
        await call.result()
    assert upstream.received == []


async def test_a_stream_without_a_single_event_is_broken(runtime, caller: Actor, records, monkeypatch) -> None:
    async def nothing(self, **_):
        for batch in ():
            yield batch

    monkeypatch.setattr("apps.gateway.providers.sandbox.SandboxProvider.stream", nothing)
    with pytest.raises(UpstreamError):
        await open_chat(actor=caller, request=ask(stream=True), endpoint="x")
    assert {(record.status, record.error_code) for record in await records()} == {("error", "gateway.upstream_broken")}
