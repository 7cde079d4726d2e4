"""An answer streams, survives its connection, and reads the same from any place, at any time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from apps.conversations.api import chat
from apps.conversations.api.serializers import ChatOutput, ConversationOutput, MessageOutput
from apps.conversations.choices import MessageStatus
from apps.conversations.models import Conversation, Message, Run, RunDelta
from apps.conversations.runtime.database import in_database
from apps.conversations.runtime.desk import current_desk
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.gateway.providers.base import UpstreamBroken, UpstreamRateLimited, UpstreamUnavailable
from apps.users.models import Membership
from tests.conversations.conftest import Chatter, Sent, parse_events, read_all, settle, text_of
from tests.factories.users import MembershipFactory
from tests.support.fake_gateway import FakeGateway
from tests.support.waiting import until

Make = Callable[[Membership], Chatter]


def stored_answer() -> Message:
    return Message.objects.select_related("run").get(role="assistant")


async def test_an_answer_streams_and_is_stored(chatter: Chatter, gateway: FakeGateway) -> None:
    response = await chatter.post("/chat/stream", {"content": "Say hello", "model": "fake"})
    assert (response.status_code, response["Content-Type"]) == (200, "text/event-stream")
    assert response["X-Accel-Buffering"] == "no"
    events = await read_all(response)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert (events[0].name, events[-1].name) == ("run.started", "run.completed")
    assert text_of(events) == events[-1].data["answer"]["content"] == "Hello, world!"
    start, end = events[0].data, events[-1].data["answer"]
    assert set(start) == {"run_id", "conversation", "message", "answer"}
    assert set(start["conversation"]) == set(ConversationOutput().fields)
    assert set(start["message"]) == set(start["answer"]) == set(MessageOutput().fields)
    assert (start["message"]["content"], start["answer"]["status"]) == ("Say hello", "running")
    assert (start["conversation"]["title"], start["conversation"]["message_count"]) == ("Say hello", 2)
    assert start["conversation"]["active_message_id"] == end["id"]
    assert (end["status"], end["parent_id"], end["run_id"]) == ("complete", start["message"]["id"], start["run_id"])
    assert end["usage"] == {"prompt_tokens": 7, "completion_tokens": 4, "cost": "0.000123"}
    answer = await in_database(stored_answer)
    assert (answer.content, answer.status, answer.run.status) == ("Hello, world!", "complete", "complete")
    assert answer.run.last_seq == events[-1].seq
    assert answer.run.request_id == gateway.calls[0].request_id


async def test_the_gateway_is_asked_with_the_branch_for_the_caller(chatter: Chatter, gateway: FakeGateway) -> None:
    first = await chatter.stream("One")
    cid = first[0].data["conversation"]["id"]
    await chatter.stream("Two", conversation_id=cid)
    request = gateway.requests[1]
    assert request["messages"] == [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Hello, world!"},
        {"role": "user", "content": "Two"},
    ]
    assert (request["model"], request["stream"], request["endpoint"]) == ("fake", True, "conversations")
    assert request["actor"].api_key_id == chatter.key.id


async def test_waiting_gives_the_whole_answer(chatter: Chatter, gateway: FakeGateway) -> None:
    response = await chatter.post("/chat", {"content": "Say hello", "model": "fake"})
    body = response.json()
    assert response.status_code == 200
    assert set(body) == set(ChatOutput().fields)
    assert (body["answer"]["content"], body["answer"]["status"]) == ("Hello, world!", "complete")
    assert body["message"]["content"] == "Say hello"


async def test_facts_are_published_without_text(chatter: Chatter, gateway: FakeGateway) -> None:
    await chatter.stream("A secret question")
    events = await in_database(lambda: list(Event.objects.order_by("position").values_list("type", "payload")))
    types = [name for name, _ in events if name.split(".")[0] in {"conversation", "message", "answer"}]
    assert types == ["conversation.created", "message.sent", "answer.started", "answer.completed"]
    assert "secret question" not in str(events)
    assert events[-1][1]["completion_tokens"] == 4


async def test_a_client_that_leaves_stops_nothing(chatter: Chatter, gateway: FakeGateway) -> None:
    gate = asyncio.Event()
    gateway.script = ["Before", gate, " and after"]
    response = await chatter.post("/chat/stream", {"content": "Hi", "model": "fake"})
    stream = response.streaming_content
    start = parse_events(await anext(stream))[0].data
    await stream.aclose()
    gate.set()
    await settle()
    resumed = await read_all(await chatter.get(f"/chat/{start['run_id']}/stream"))
    assert text_of(resumed) == "Before and after"
    assert len(gateway.calls) == 1
    assert not gateway.calls[0].is_cancelled


async def test_a_waiting_client_that_leaves_stops_nothing(chatter: Chatter, gateway: FakeGateway) -> None:
    gate = asyncio.Event()
    gateway.script = ["Before", gate, " and after"]
    waiting = asyncio.create_task(chatter.post("/chat", {"content": "Hi", "model": "fake"}))
    await until(lambda: gateway.calls)
    waiting.cancel()
    gate.set()
    await settle()
    assert (await in_database(stored_answer)).content == "Before and after"


async def test_a_stream_cut_anywhere_resumes_with_the_same_text(chatter: Chatter, gateway: FakeGateway) -> None:
    """Cut the raw bytes at random places and resume from the last whole event."""
    gateway.script = [f"word{n}ü " for n in range(40)]
    whole = await chatter.stream()
    path = f"/chat/{whole[0].data['run_id']}/stream"
    raw = b"".join([chunk async for chunk in (await chatter.get(path)).streaming_content])
    chance = random.Random(4711)
    for cut in [0, len(raw), *(chance.randrange(len(raw)) for _ in range(18))]:
        seen = parse_events(raw[:cut])
        rest = await read_all(await chatter.get(f"{path}?after={seen[-1].seq if seen else 0}"))
        numbers = [event.seq for event in seen + rest if event.seq is not None]
        assert numbers[: whole[-1].seq] == list(range(1, whole[-1].seq + 1))
        assert text_of(seen + rest) == "".join(gateway.script)
        assert rest[-1].data == whole[-1].data
    assert len(gateway.calls) == 1
    assert await in_database(Run.objects.count) == 1


@pytest.mark.parametrize("stop_at", [0, 1, 2, 3])
async def test_a_live_stream_is_resumed_by_last_event_id(chatter: Chatter, gateway: FakeGateway, stop_at: int) -> None:
    """The client leaves after `stop_at` words, comes back while the answer runs, and again when it is over."""
    gates = [asyncio.Event() for _ in range(3)]
    gateway.script = ["a", gates[0], "b", gates[1], "c", gates[2], "d"]
    stream = (await chatter.post("/chat/stream", {"content": "Hi", "model": "fake"})).streaming_content
    seen = parse_events(await anext(stream))
    for gate in gates[:stop_at]:
        seen += parse_events(await anext(stream))
        gate.set()
    await stream.aclose()
    path, header = f"/chat/{seen[0].data['run_id']}/stream", {"Last-Event-ID": str(seen[-1].seq)}
    live = await chatter.get(path, **header)
    for gate in gates:
        gate.set()
    assert text_of(seen + await read_all(live)) == "abcd"
    assert text_of(seen + await read_all(await chatter.get(path, **header))) == "abcd"
    assert len(gateway.calls) == 1


async def test_a_reader_in_another_process_sees_it_grow(chatter: Chatter, gateway: FakeGateway) -> None:
    """The desk forgets that the run is its own: everything comes from the database then."""
    gate = asyncio.Event()
    gateway.script = ["Now", gate, " and then"]
    stream = (await chatter.post("/chat/stream", {"content": "Hi", "model": "fake"})).streaming_content
    run_id = parse_events(await anext(stream))[0].data["run_id"]
    await anext(stream)
    elsewhere = await chatter.get(f"/chat/{run_id}/stream")
    hidden, current_desk().runs = current_desk().runs, {}
    other = elsewhere.streaming_content
    first = parse_events(await anext(other))
    current_desk().runs = hidden
    assert text_of(first) == "Now"
    gate.set()
    rest = [event async for chunk in other for event in parse_events(chunk)]
    assert text_of(first + rest) == "Now and then"
    await stream.aclose()


async def test_what_a_client_saw_was_stored_before(chatter: Chatter, gateway: FakeGateway) -> None:
    gateway.script = [f"{n} " for n in range(30)]
    response = await chatter.post("/chat/stream", {"content": "Hi", "model": "fake"})
    async for chunk in response.streaming_content:
        for event in parse_events(chunk):
            if event.name == "delta":
                stored = await in_database(lambda seq=event.seq: RunDelta.objects.get(seq=seq).text)
                assert stored == event.data["text"]


async def test_pieces_that_are_no_longer_kept(chatter: Chatter, gateway: FakeGateway) -> None:
    run_id = (await chatter.stream())[0].data["run_id"]
    await in_database(lambda: RunDelta.objects.all().delete())
    assert text_of(await read_all(await chatter.get(f"/chat/{run_id}/stream"))) == "Hello, world!"
    last = await in_database(lambda: Run.objects.get().last_seq)
    await in_database(lambda: Run.objects.update(last_seq=9))
    late = await read_all(await chatter.get(f"/chat/{run_id}/stream?after={last}"))
    assert [(event.name, event.data["code"], event.data["status"]) for event in late] == [
        ("error", "conversations.resume_expired", 410)
    ]


@pytest.mark.parametrize("path", ["/chat/{}/stream", "/chat/{}/cancel"])
async def test_only_the_owner_reaches_a_run(
    chatter: Chatter, chatter_of: Make, gateway: FakeGateway, path: str
) -> None:
    run_id = (await chatter.stream())[0].data["run_id"]
    colleague = await in_database(lambda: MembershipFactory(organization=chatter.membership.organization))
    other = await in_database(chatter_of, colleague)
    ask = other.get if path.endswith("stream") else other.post
    header = {"X-Request-Id": "same-request-id"}
    foreign = await ask(path.format(run_id), **header)
    missing = await ask(path.format(Run(id=uuid7()).public_id), **header)
    nonsense = await ask(path.format("run_nonsense"), **header)
    assert [answer.status_code for answer in (foreign, missing, nonsense)] == [404] * 3
    assert foreign.content == missing.content == nonsense.content


async def test_a_provider_that_breaks_leaves_what_came(chatter: Chatter, gateway: FakeGateway) -> None:
    gateway.script = ["Half an ans", UpstreamBroken("The provider's stream was cut.")]
    events = await chatter.stream()
    assert (events[-1].name, events[-1].data["error"]["code"]) == ("run.failed", "gateway.upstream_broken")
    assert events[-1].data["answer"]["content"] == text_of(events) == "Half an ans"
    answer = await in_database(stored_answer)
    assert (answer.status, answer.error_code) == (MessageStatus.FAILED, "gateway.upstream_broken")


@pytest.mark.parametrize(("seconds", "shown"), [(None, None), (0.0, "1"), (7.5, "8"), (1e300, "3600")])
async def test_a_failure_says_when_to_try_again_as_far_as_it_is_known(
    chatter: Chatter, gateway: FakeGateway, seconds: float | None, shown: str | None
) -> None:
    gateway.refusal = UpstreamUnavailable("Down.", retry_after_seconds=seconds)
    refused = await chatter.post("/chat", {"content": "Hi", "model": "fake"})
    assert (refused.status_code, refused.json()["title"]) == (503, "The provider is unavailable")
    assert refused.headers.get("Retry-After") == shown


async def test_a_refusal_before_the_first_word_is_a_problem_for_those_who_wait(
    chatter: Chatter, gateway: FakeGateway
) -> None:
    gateway.refusal = UpstreamRateLimited("Slow down.")
    response = await chatter.post("/chat", {"content": "Hi", "model": "fake"})
    body = response.json()
    assert (response.status_code, body["code"], body["detail"]) == (429, "gateway.upstream_rate_limited", "Slow down.")
    assert (body["answer"]["status"], body["message"]["content"]) == ("failed", "Hi")
    streamed = await chatter.stream()
    assert [event.name for event in streamed] == ["run.started", "run.failed"]


async def test_a_defect_is_no_stack_trace(chatter: Chatter, gateway: FakeGateway) -> None:
    gateway.script = ["Well", ZeroDivisionError("secret detail")]
    events = await chatter.stream()
    assert events[-1].data["error"]["code"] == "conversations.answer_broken"
    assert "secret detail" not in str(events)


async def test_cancelling_keeps_what_came_and_stops_the_provider(chatter: Chatter, gateway: FakeGateway) -> None:
    gateway.script = ["So far", asyncio.Event(), " never"]
    stream = (await chatter.post("/chat/stream", {"content": "Hi", "model": "fake"})).streaming_content
    seen: list[Sent] = []
    while not text_of(seen):
        seen += parse_events(await anext(stream))
    answer = (await chatter.post(f"/chat/{seen[0].data['run_id']}/cancel")).json()["message"]
    assert (answer["status"], answer["content"]) == ("cancelled", "So far")
    assert gateway.calls[0].is_cancelled
    rest = [event async for chunk in stream for event in parse_events(chunk)]
    assert [event.name for event in rest] == ["run.cancelled"]
    again = (await chatter.post(f"/chat/{seen[0].data['run_id']}/cancel")).json()["message"]
    assert again == answer


async def test_a_call_that_has_not_begun_can_be_cancelled(
    chatter: Chatter, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = asyncio.Event()

    async def never_opens(**_: Any) -> None:
        opened.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("apps.conversations.services.answering.open_chat", never_opens)
    stream = (await chatter.post("/chat/stream", {"content": "Hi", "model": "fake"})).streaming_content
    start = parse_events(await anext(stream))[0].data
    await opened.wait()
    answer = (await chatter.post(f"/chat/{start['run_id']}/cancel")).json()["message"]
    assert (answer["status"], answer["content"], answer["usage"]) == ("cancelled", "", None)
    await stream.aclose()


async def test_a_cancellation_that_takes_long_is_answered_with_what_there_is(
    chatter: Chatter, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "CANCEL_SECONDS", 0.05)
    gateway.script = ["So far", asyncio.Event()]
    stream = (await chatter.post("/chat/stream", {"content": "Hi", "model": "fake"})).streaming_content
    start = parse_events(await anext(stream))[0].data
    hidden, current_desk().runs = current_desk().runs, {}
    answer = await chatter.post(f"/chat/{start['run_id']}/cancel")
    assert answer.status_code == 200
    assert (answer.json()["message"]["id"], answer.json()["message"]["status"]) == (start["answer"]["id"], "running")
    current_desk().runs = hidden
    rest = [event async for chunk in stream for event in parse_events(chunk)]
    assert rest[-1].name == "run.cancelled"


async def test_a_cancellation_that_only_reached_the_database_is_noticed(chatter: Chatter, gateway: FakeGateway) -> None:
    """Another process asked and Redis lost the word."""
    gateway.script = ["So far", asyncio.Event()]
    stream = (await chatter.post("/chat/stream", {"content": "Hi", "model": "fake"})).streaming_content
    await anext(stream)
    await in_database(lambda: Run.objects.update(cancel_requested_at="2026-01-01T00:00:00Z"))
    async with asyncio.timeout(5):
        rest = [event async for chunk in stream for event in parse_events(chunk)]
    assert rest[-1].name == "run.cancelled"


async def test_a_revoked_key_ends_its_streams_within_two_seconds(chatter: Chatter, gateway: FakeGateway) -> None:
    gate = asyncio.Event()
    gateway.script = ["So far", gate, " and on"]
    stream = (await chatter.post("/chat/stream", {"content": "Hi", "model": "fake"})).streaming_content
    await anext(stream)
    chatter.key.revoked_at = "2026-01-01T00:00:00Z"
    await in_database(chatter.key.save)
    async with asyncio.timeout(2.5):
        rest = [event async for chunk in stream for event in parse_events(chunk)]
    assert (rest[-1].name, rest[-1].data["status"]) == ("error", 401)
    gate.set()
    await settle()


async def test_the_same_key_leads_to_the_same_run(chatter: Chatter, gateway: FakeGateway) -> None:
    body = {"content": "Once", "model": "fake"}
    header = {"Idempotency-Key": "k-1"}
    streams = await asyncio.gather(*(chatter.post("/chat/stream", body, **header) for _ in range(5)))
    read = await asyncio.gather(*(read_all(stream) for stream in streams))
    waited = (await chatter.post("/chat", body, **header)).json()
    assert {text_of(events) for events in read} == {"Hello, world!"}
    assert len({events[0].data["run_id"] for events in read}) == 1
    assert waited["answer"] == read[0][-1].data["answer"]
    assert len(gateway.calls) == 1
    counts = await in_database(lambda: (Conversation.objects.count(), Message.objects.count(), Run.objects.count()))
    assert counts == (1, 2, 1)
    other = await chatter.post("/chat", {"content": "Twice", "model": "fake"}, **header)
    assert (other.status_code, other.json()["code"]) == (422, "events.idempotency_key_reused")
    assert (await chatter.post("/chat", body, **{"Idempotency-Key": "a b"})).status_code == 400


async def test_of_concurrent_sends_one_goes_on_and_the_others_are_told(chatter: Chatter, gateway: FakeGateway) -> None:
    cid = (await chatter.stream())[0].data["conversation"]["id"]
    gate = asyncio.Event()
    gateway.script = [gate, "Done"]
    body = {"content": "Next", "model": "fake", "conversation_id": cid}
    answers = await asyncio.gather(*(chatter.post("/chat/stream", body) for _ in range(6)))
    gate.set()
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["code"] == "conversations.answer_running"
    await settle()
    assert await in_database(Message.objects.count) == 4
    for answer in answers:
        if answer.status_code == 200:
            assert text_of(await read_all(answer)) == "Done"


async def test_editing_and_branching(chatter: Chatter, gateway: FakeGateway) -> None:
    first = await chatter.stream("One")
    start = first[0].data
    cid = start["conversation"]["id"]
    anew = await chatter.stream("Uno", conversation_id=cid, parent_id=None)
    assert anew[0].data["message"]["siblings"] == [start["message"]["id"], anew[0].data["message"]["id"]]
    assert gateway.requests[1]["messages"] == [{"role": "user", "content": "Uno"}]
    beside = await chatter.stream("Two", conversation_id=cid, parent_id=start["answer"]["id"])
    assert [turn["content"] for turn in gateway.requests[2]["messages"]] == ["One", "Hello, world!", "Two"]
    active = (await chatter.get(f"/conversations/{cid}/messages")).json()["items"]
    assert [message["content"] for message in active] == ["One", "Hello, world!", "Two", "Hello, world!"]
    assert active[-1]["id"] == beside[-1].data["answer"]["id"]


async def test_regenerating_answers_beside_the_old_answer(chatter: Chatter, gateway: FakeGateway) -> None:
    start = (await chatter.stream("One"))[0].data
    cid, mid = start["conversation"]["id"], start["answer"]["id"]
    gateway.script = ["Again"]
    response = await chatter.post(f"/conversations/{cid}/messages/{mid}/regenerate", {"model": "other"})
    body = response.json()
    assert response.status_code == 202
    assert (body["message"]["status"], body["message"]["parent_id"]) == ("running", start["message"]["id"])
    assert body["message"]["siblings"] == [mid, body["message"]["id"]]
    events = await read_all(await chatter.get(f"/chat/{body['run_id']}/stream"))
    assert (events[0].data["message"], text_of(events)) == (None, "Again")
    assert (gateway.requests[1]["model"], gateway.requests[1]["messages"]) == (
        "other", [{"role": "user", "content": "One"}],
    )  # fmt: skip
    question = await chatter.post(f"/conversations/{cid}/messages/{start['message']['id']}/regenerate")
    assert len(question.json()["message"]["siblings"]) == 3
    await settle()


REFUSED: list[tuple[Any, int, str]] = [
    ({"model": "fake"}, 400, "invalid_input"),
    ({"content": "   ", "model": "fake"}, 400, "conversations.text_invalid"),
    ({"content": "Hi"}, 400, "conversations.model_missing"),
    ({"content": "Hi", "model": "fake", "extra": 1}, 400, "invalid_input"),
    ({"content": "a\x00b", "model": "fake"}, 400, "invalid_input"),
    ({"content": "a\ud800b", "model": "fake"}, 400, "parse_error"),
    ({"content": "x" * 400_001, "model": "fake"}, 400, "invalid_input"),
    ({"content": "Hi", "model": "a\x00b"}, 400, "invalid_input"),
    ({"content": "Hi", "model": "fake", "conversation_id": "conv_x"}, 400, "invalid_input"),
    ({"content": "Hi", "model": "fake", "conversation_id": Conversation(id=uuid7()).public_id}, 404, "not_found"),
    ({"content": "Hi", "model": "fake", "parent_id": Message(id=uuid7()).public_id}, 404, "not_found"),
    ([], 400, "invalid_input"),
]


@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
async def test_what_cannot_be_sent_is_refused_and_leaves_nothing(
    chatter: Chatter, gateway: FakeGateway, path: str
) -> None:
    answers = [await chatter.post(path, body) for body, _, _ in REFUSED]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [case[1:] for case in REFUSED]
    assert {answer["Content-Type"] for answer in answers} == {"application/problem+json"}
    assert await in_database(lambda: (Conversation.objects.count(), Message.objects.count())) == (0, 0)
    assert gateway.requests == []
