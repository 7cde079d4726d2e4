"""A conversation is summarized when somebody asks; the summary is kept and tells when it is outgrown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from apps.conversations.api.summaries import SummaryOutput
from apps.conversations.choices import MessageRole, MessageStatus
from apps.conversations.models import Conversation, ConversationSummary, Message
from apps.conversations.runtime.database import in_database
from apps.conversations.selectors.presenting import describe_summary
from apps.conversations.selectors.summaries import Material, find_material, read_material
from apps.conversations.services import summarizing
from apps.conversations.services.messages import edit_message, send_message
from apps.conversations.services.summarizing import store_summary, summarize_conversation
from apps.core.actor import Actor
from apps.core.errors import NotFound
from apps.events.models import Event
from apps.gateway.choices import AnalysisMethod
from apps.gateway.services.analysis import Summary
from apps.users.models import Membership
from apps.users.selectors import actor_of_key
from tests.conversations.conftest import Chatter, settle
from tests.factories.conversations import AnswerFactory, ConversationFactory, MessageFactory
from tests.factories.users import MembershipFactory
from tests.support.waiting import until

BY_MODEL = Summary(text="About\x00 cats.", method=AnalysisMethod.MODEL, model="wise-model", cost_micros=420)
BY_RULES = Summary(text="Cats are cats.", method=AnalysisMethod.FALLBACK)


class Writer:
    """Stands in for `summarize`: waits until it may, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answer = BY_MODEL

    async def __call__(self, **asked: Any) -> Summary:
        self.asked.append(asked)
        await self.may_answer.wait()
        return self.answer


@pytest.fixture
async def writer(monkeypatch: pytest.MonkeyPatch) -> Writer:
    writer = Writer()
    monkeypatch.setattr(summarizing, "summarize", writer)
    return writer


@pytest.fixture
def conversation(transactional_db: None, member: Membership) -> Conversation:
    conversation = ConversationFactory(membership=member)
    MessageFactory(conversation=conversation, role=MessageRole.SYSTEM, content="Be brief.")
    MessageFactory(conversation=conversation, content="What is a cat?")
    AnswerFactory(conversation=conversation, content="A cat.")
    return conversation


def path(conversation: Conversation, verb: str = "summarize") -> str:
    return f"/conversations/{conversation.public_id}/{verb}"


async def payloads() -> list[dict[str, Any]]:
    found = Event.objects.filter(type="conversation.summarized").order_by("position")
    return await in_database(lambda: list(found.values_list("payload", flat=True)))


async def test_a_summary_is_made_stored_and_read(chatter: Chatter, conversation: Conversation, writer: Writer) -> None:
    assert (await chatter.get(path(conversation, "summary"))).status_code == 204
    answer = await chatter.post(path(conversation))
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == set(SummaryOutput().fields)
    last = await in_database(Message.objects.get, id=conversation.active_message_id)
    assert {name: body[name] for name in body if name != "made_at"} == {
        "conversation_id": conversation.public_id,
        "text": "About cats.",
        "method": "model",
        "model": "wise-model",
        "message_id": last.public_id,
        "message_count": 2,
        "cost": "0.000420",
        "is_outdated": False,
    }
    assert (await chatter.get(path(conversation, "summary"))).json() == body
    (asked,) = writer.asked
    assert asked["endpoint"] == "conversations.summary"
    assert asked["actor"].api_key_id == chatter.key.id
    assert asked["source"] == [
        {"role": "user", "content": "What is a cat?"},
        {"role": "assistant", "content": "A cat."},
    ]
    assert await payloads() == [
        {
            "message_id": str(last.id), "message_count": 2, "method": "model", "model": "wise-model",
            "cost_micros": 420, "characters": 11,
        }
    ]  # fmt: skip


async def test_with_nothing_new_no_model_is_asked(chatter: Chatter, conversation: Conversation, writer: Writer) -> None:
    first = await chatter.post(path(conversation))
    second = await chatter.post(path(conversation))
    assert second.content == first.content
    assert (len(writer.asked), len(await payloads())) == (1, 1)


async def test_a_new_message_outdates_it_and_asking_renews_it(
    chatter: Chatter, conversation: Conversation, writer: Writer
) -> None:
    await chatter.post(path(conversation))
    await chatter.post(f"/conversations/{conversation.public_id}/messages", {"content": "And a dog?"})
    shown = (await chatter.get(path(conversation, "summary"))).json()
    assert (shown["is_outdated"], shown["message_count"]) == (True, 2)
    renewed = (await chatter.post(path(conversation))).json()
    assert (renewed["is_outdated"], renewed["message_count"]) == (False, 3)
    assert (len(writer.asked), await in_database(ConversationSummary.objects.count)) == (2, 1)


async def test_an_edit_outdates_it(chatter: Chatter, conversation: Conversation, writer: Writer) -> None:
    await chatter.post(path(conversation))
    actor = await in_database(actor_of_key, key=chatter.key)
    await in_database(
        edit_message,
        actor=actor,
        conversation_id=conversation.id,
        message_id=conversation.active_message_id,
        content="A dog.",
    )
    assert (await chatter.get(path(conversation, "summary"))).json()["is_outdated"] is True


async def test_what_is_still_being_written_is_left_out(
    chatter: Chatter, conversation: Conversation, writer: Writer
) -> None:
    await chatter.post(path(conversation))
    await in_database(AnswerFactory, conversation=conversation, status=MessageStatus.RUNNING, content="Hal")
    assert (await chatter.get(path(conversation, "summary"))).json()["is_outdated"] is False


async def test_an_empty_conversation_has_nothing_to_tell(chatter: Chatter, writer: Writer) -> None:
    empty = await in_database(ConversationFactory, membership=chatter.membership)
    answer = await chatter.post(path(empty))
    assert (answer.status_code, answer.json()["code"]) == (422, "conversations.nothing_to_summarize")
    assert writer.asked == []


async def test_nobody_summarizes_or_reads_what_is_anothers(
    chatter_of: Callable[[Membership], Chatter], conversation: Conversation, writer: Writer
) -> None:
    membership = await in_database(MembershipFactory, organization=conversation.organization)
    stranger = await in_database(chatter_of, membership)
    for answer in [await stranger.post(path(conversation)), await stranger.get(path(conversation, "summary"))]:
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert writer.asked == []


async def test_a_fallback_is_kept_until_a_model_answers(
    chatter: Chatter, conversation: Conversation, writer: Writer
) -> None:
    writer.answer = BY_RULES
    first = (await chatter.post(path(conversation))).json()
    assert (first["method"], first["model"], first["text"]) == ("fallback", None, "Cats are cats.")
    assert (await chatter.post(path(conversation))).json() == first
    writer.answer = BY_MODEL
    assert (await chatter.post(path(conversation))).json()["text"] == "About cats."
    assert [payload["method"] for payload in await payloads()] == ["fallback", "model"]


async def test_who_asks_at_once_shares_one_call(
    actor: Actor, conversation: Conversation, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Material] = []

    def find(**asked: Any) -> Material:
        read.append(find_material(**asked))
        return read[-1]

    monkeypatch.setattr(summarizing, "find_material", find)
    writer.may_answer.clear()
    first, second = (
        asyncio.create_task(summarize_conversation(actor=actor, conversation_id=conversation.id)) for _ in range(2)
    )
    await until(lambda: len(read) == 2)
    first.cancel()
    writer.may_answer.set()
    found = await second
    await settle()
    assert (found.is_outdated, len(writer.asked), len(await payloads())) == (False, 1, 1)


def test_a_slower_summary_does_not_replace_a_newer(conversation: Conversation, actor: Actor) -> None:
    old = read_material(conversation, with_texts=False)
    send_message(actor=actor, conversation_id=conversation.id, content="And a dog?")
    conversation.refresh_from_db()
    new = read_material(conversation, with_texts=False)
    assert new.messages == []
    kept = store_summary(actor=actor, material=new, summary=BY_RULES)
    assert store_summary(actor=actor, material=old, summary=BY_MODEL) == kept
    assert ConversationSummary.objects.get().text == "Cats are cats."
    better = store_summary(actor=actor, material=new, summary=BY_MODEL)
    assert (better.id, better.text) == (kept.id, "About cats.")


def test_what_was_deleted_meanwhile_keeps_no_summary(conversation: Conversation, actor: Actor) -> None:
    material = read_material(conversation, with_texts=False)
    Conversation.objects.update(deleted_at=conversation.created_at)
    with pytest.raises(NotFound):
        store_summary(actor=actor, material=material, summary=BY_MODEL)
    assert describe_summary(material) is None
    assert not ConversationSummary.objects.exists()
