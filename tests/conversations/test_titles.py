"""A conversation is named once, by a model, behind the back of its first complete answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import AsyncClient
from django.utils import timezone
from pytest_django import Settings

from apps.conversations.choices import MessageRole, TitleOrigin
from apps.conversations.models import Conversation, Message, Run
from apps.conversations.runtime.database import in_database
from apps.conversations.services import following, titling
from apps.conversations.services.following import RunFollower
from apps.conversations.services.titling import LONGEST_TURN, claim_title, settle_title
from apps.core.actor import Actor
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.gateway.choices import AnalysisMethod
from apps.gateway.services.analysis import Title
from tests.conversations.conftest import Chatter, Sent, parse_events, read_all, settle
from tests.factories.conversations import AnsweringProcessFactory, ConversationFactory, MessageFactory, make_run
from tests.support.fake_gateway import FakeGateway

pytestmark = pytest.mark.usefixtures("gateway")
QUESTION = "Tell me about cats"
BETTER = "Cats of the coast"


class Namer:
    """Stands in for `make_title`: waits until it may, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answer: Title | Exception = Title(
            text=BETTER, method=AnalysisMethod.MODEL, model="wise-model", cost_micros=12
        )

    async def __call__(self, **asked: Any) -> Title:
        self.asked.append(asked)
        await self.may_answer.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def namer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Namer:
    settings.CHAT_TITLES = "model"
    namer = Namer()
    monkeypatch.setattr(titling, "make_title", namer)
    return namer


async def stored() -> Conversation:
    await settle()
    return await in_database(Conversation.objects.get)


async def titled_events() -> list[dict[str, Any]]:
    found = Event.objects.filter(type="conversation.titled")
    return await in_database(lambda: list(found.values_list("payload", flat=True)))


def conversations_in(events: list[Sent]) -> list[tuple[str, str]]:
    return [(event.name, event.data["conversation"]["title"]) for event in events if "conversation" in event.data]


async def test_the_first_answer_gives_a_better_name(chatter: Chatter, namer: Namer) -> None:
    events = await chatter.stream(QUESTION)
    assert conversations_in(events) == [("run.started", QUESTION)]
    conversation = await stored()
    assert (conversation.title, conversation.title_origin) == (BETTER, TitleOrigin.MODEL)
    assert conversation.version == events[0].data["conversation"]["version"] + 1
    (asked,) = namer.asked
    assert asked["endpoint"] == "conversations.title"
    assert asked["source"] == [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "Hello, world!"},
    ]
    assert (asked["actor"].api_key_id, asked["actor"].user_id) == (chatter.key.id, chatter.membership.user_id)
    assert await titled_events() == [{"model": "wise-model", "cost_micros": 12}]


async def test_a_second_answer_asks_no_more(chatter: Chatter, namer: Namer) -> None:
    first = await chatter.stream(QUESTION)
    await settle()
    await chatter.stream("And dogs?", conversation_id=first[0].data["conversation"]["id"])
    assert (await stored()).title == BETTER
    assert len(namer.asked) == 1


async def test_only_an_answer_that_came_to_its_end_is_named_after(
    chatter: Chatter, namer: Namer, gateway: FakeGateway
) -> None:
    gateway.script = ["Hel", RuntimeError("broken")]
    first = await chatter.stream(QUESTION)
    assert (await stored()).title_origin == TitleOrigin.WORDS
    assert namer.asked == []
    gateway.script = ["Hello"]
    await chatter.stream("Again?", conversation_id=first[0].data["conversation"]["id"])
    assert (await stored()).title == BETTER


async def test_words_ask_no_model(chatter: Chatter, namer: Namer, settings: Settings) -> None:
    settings.CHAT_TITLES = "words"
    answer = await chatter.post("/chat/stream?with_title=true", {"content": QUESTION, "model": "fake"})
    assert (await read_all(answer))[-1].name == "run.completed"
    conversation = await stored()
    assert (conversation.title, conversation.title_origin, namer.asked) == (QUESTION, TitleOrigin.WORDS, [])


async def test_a_title_that_a_person_gave_is_not_touched(chatter: Chatter, namer: Namer) -> None:
    created = (await chatter.post("/conversations", {"title": "Mine"})).json()
    await chatter.stream(QUESTION, conversation_id=created["id"])
    conversation = await stored()
    assert (conversation.title, conversation.title_origin, namer.asked) == ("Mine", TitleOrigin.PERSON, [])


async def test_who_renames_while_the_model_thinks_wins(chatter: Chatter, namer: Namer) -> None:
    namer.may_answer.clear()
    events = await chatter.stream(QUESTION)
    path = f"/api/v3/conversations/{events[0].data['conversation']['id']}"
    renamed = await AsyncClient().patch(
        path, '{"title": "Mine"}', content_type="application/json", headers=chatter.headers
    )
    assert renamed.status_code == 200
    namer.may_answer.set()
    conversation = await stored()
    assert (conversation.title, conversation.title_origin) == ("Mine", TitleOrigin.PERSON)
    assert conversation.version == renamed.json()["version"]
    assert await titled_events() == []


@pytest.mark.parametrize(
    "answer",
    [
        Title(text="By rules", method=AnalysisMethod.FALLBACK),
        Title(text=QUESTION, method=AnalysisMethod.MODEL),
        Title(text=" \n ", method=AnalysisMethod.MODEL),
        Title(text="a\x00b", method=AnalysisMethod.MODEL),
        Title(text="x" * 201, method=AnalysisMethod.MODEL),
    ],
    ids=["no model", "the same", "blank", "not storable", "too long"],
)
async def test_what_is_no_better_leaves_the_first_words(chatter: Chatter, namer: Namer, answer: Title) -> None:
    namer.answer = answer
    events = await chatter.stream(QUESTION)
    conversation = await stored()
    assert (conversation.title, conversation.title_origin) == (QUESTION, TitleOrigin.KEPT)
    assert conversation.version == events[0].data["conversation"]["version"]
    assert await titled_events() == []


async def test_a_failure_harms_nobody_and_is_not_tried_again(chatter: Chatter, namer: Namer) -> None:
    namer.answer = RuntimeError("no")
    events = await chatter.stream(QUESTION)
    assert events[-1].name == "run.completed"
    assert (await stored()).title_origin == TitleOrigin.ASKED
    await chatter.stream("And?", conversation_id=events[0].data["conversation"]["id"])
    assert (await stored()).title == QUESTION
    assert len(namer.asked) == 1


async def test_the_stream_brings_the_title_to_whoever_waits_for_it(chatter: Chatter, namer: Namer) -> None:
    namer.may_answer.clear()
    response = await chatter.post("/chat/stream?with_title=true", {"content": QUESTION, "model": "fake"})
    chunks = response.streaming_content
    seen: list[Sent] = []
    while not seen or seen[-1].name != "run.completed":
        seen += parse_events(await anext(chunks))
    assert await anext(chunks) == b": ping\n\n"
    namer.may_answer.set()
    rest = [event for chunk in [chunk async for chunk in chunks] for event in parse_events(chunk)]
    assert [(event.seq, event.name) for event in rest] == [(None, "conversation.updated")]
    assert conversations_in(rest) == [("conversation.updated", BETTER)]
    assert rest[0].data["conversation"]["version"] == (await stored()).version


async def test_a_stream_ends_at_once_when_no_better_name_came(chatter: Chatter, namer: Namer) -> None:
    namer.answer = Title(text="By rules", method=AnalysisMethod.FALLBACK)
    response = await chatter.post("/chat/stream?with_title=true", {"content": QUESTION, "model": "fake"})
    assert (await read_all(response))[-1].name == "run.completed"
    assert (await stored()).title_origin == TitleOrigin.KEPT


async def test_another_process_brings_it_too(chatter: Chatter, namer: Namer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    namer.may_answer.clear()
    events = await chatter.stream(QUESTION)
    run = await in_database(Run.objects.select_related("conversation").get)
    follower = RunFollower(run, after=events[-1].seq or 0)
    told = follower.read_title()
    assert await anext(told) == []
    namer.may_answer.set()
    (event,) = [event async for events in told for event in events]
    assert event.data["conversation"]["title"] == BETTER
    assert (event.seq, event.name) == (None, "conversation.updated")


async def test_a_title_is_not_waited_for_without_end(
    chatter: Chatter, namer: Namer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(following, "TITLE_TURNS", 3)
    namer.may_answer.clear()
    await chatter.stream(QUESTION)
    run = await in_database(Run.objects.select_related("conversation").get)
    follower = RunFollower(run, after=1)
    assert [events async for events in follower.read_title()] == [[], [], []]
    follower._withdraw()
    assert [events async for events in follower.read_title()] == []
    namer.may_answer.set()
    await settle()


@pytest.fixture
def run(db: None) -> Run:
    conversation = ConversationFactory(title="Words", title_origin=TitleOrigin.WORDS)
    MessageFactory(conversation=conversation, role=MessageRole.SYSTEM, content="Be brief.")
    run = make_run(conversation=conversation, owner_id=AnsweringProcessFactory().id)
    Message.objects.filter(id=run.message_id).update(content="y" * 3000)
    return run


def test_a_claim_holds_once(run: Run) -> None:
    question, answer = claim_title(run_id=run.id)
    assert (question["role"], answer["role"]) == ("user", "assistant")
    assert answer["content"] == "y" * LONGEST_TURN
    assert claim_title(run_id=run.id) == []


def test_what_is_deleted_or_gone_is_not_named(run: Run, actor: Actor) -> None:
    title = Title(text=BETTER, method=AnalysisMethod.MODEL)
    assert claim_title(run_id=uuid7()) == []
    assert settle_title(actor=actor, run_id=run.id, title=title) is False
    claim_title(run_id=run.id)
    Conversation.objects.update(deleted_at=timezone.now())
    assert settle_title(actor=actor, run_id=run.id, title=title) is False
    assert Conversation.objects.get().title == "Words"
    Conversation.objects.update(deleted_at=None)
    assert settle_title(actor=actor, run_id=run.id, title=title) is True
    assert settle_title(actor=actor, run_id=run.id, title=title) is False
