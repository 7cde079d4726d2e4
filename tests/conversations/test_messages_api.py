"""/api/v3/conversations/{id}/messages: the tree, without answering."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.conversations.api.serializers import MessageOutput
from apps.conversations.choices import MessageStatus
from apps.conversations.models import Conversation, Message, MessageVersion
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.users.models import Membership
from tests.factories.conversations import AnswerFactory, ConversationFactory, MessageFactory, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation(member: Membership) -> Conversation:
    return ConversationFactory(membership=member, title="")


@pytest.fixture
def url(conversation: Conversation) -> str:
    return f"/api/v3/conversations/{conversation.public_id}/messages"


def contents(answer: Any) -> list[str]:
    return [item["content"] for item in answer.json()["items"]]


def event_types() -> list[str]:
    ours = Event.objects.filter(aggregate_type="conversation").order_by("position")
    return list(ours.values_list("type", flat=True))


def test_a_sent_message_goes_to_the_end_of_the_branch_and_titles_the_conversation(
    api: APIClient, conversation: Conversation, url: str
) -> None:
    first = api.post(url, {"content": "# Cats of the *coast*\nand more"})
    second = api.post(url, {"content": "Be brief.", "role": "system"})
    assert (first.status_code, set(first.json())) == (201, set(MessageOutput().fields))
    assert second.json()["parent_id"] == first.json()["id"]
    assert (second.json()["role"], second.json()["status"], second.json()["run_id"]) == ("system", "complete", None)
    conversation.refresh_from_db()
    assert (conversation.title, conversation.message_count) == ("Cats of the coast", 2)
    assert conversation.active_message_id == Message.objects.get(role="system").id
    assert conversation.version == 3
    assert event_types() == ["message.sent", "message.sent"]


def test_sending_twice_with_one_key_sends_once(api: APIClient, url: str) -> None:
    answers = [api.post(url, {"content": "Hi"}, HTTP_IDEMPOTENCY_KEY="k") for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert Message.objects.count() == 1


def test_the_active_branch_and_all_messages(api: APIClient, conversation: Conversation, url: str) -> None:
    root = MessageFactory(conversation=conversation, content="Q", parent=None)
    old = AnswerFactory(conversation=conversation, parent=root, content="A1")
    new = AnswerFactory(conversation=conversation, parent=root, content="A2")
    MessageFactory(conversation=conversation, parent=new, content="Q2")
    active = api.get(url)
    assert contents(active) == ["Q", "A2", "Q2"]
    assert active.json()["items"][1]["siblings"] == [old.public_id, new.public_id]
    first = api.get(f"{url}?branch=all&page_size=3")
    assert contents(first) + contents(api.get(first.json()["next"])) == ["Q", "A1", "A2", "Q2"]
    assert api.get(f"{url}?branch=every").status_code == 400


def test_a_long_branch_takes_as_many_queries_as_a_short_one(
    api: APIClient, conversation: Conversation, url: str, django_assert_num_queries: Any
) -> None:
    api.get(url)
    for length in (1, 40):
        for _ in range(length):
            make_run(conversation=conversation, owner_id=uuid7())
        with django_assert_num_queries(5):  # key, membership, conversation, outline, messages
            assert len(api.get(url).json()["items"]) % 2 == 0


def test_a_message_shows_its_run_usage_and_error(api: APIClient, conversation: Conversation, url: str) -> None:
    run = make_run(conversation=conversation, owner_id=uuid7())
    Message.objects.filter(id=run.message_id).update(
        status=MessageStatus.FAILED, error_code="gateway.x", error_message="No.", prompt_tokens=3, cost_micros=1_500_000
    )
    body = api.get(f"{url}/{run.message.public_id}").json()
    assert body["run_id"] == run.public_id
    assert body["error"] == {"code": "gateway.x", "message": "No."}
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 0, "cost": "1.500000"}


def test_an_edit_keeps_what_was_said_before(api: APIClient, conversation: Conversation, url: str) -> None:
    message = MessageFactory(conversation=conversation, content="First")
    page = f"{url}/{message.public_id}"
    edited = api.patch(page, {"content": "Second"}, HTTP_IF_MATCH=api.get(page)["ETag"])
    assert (edited.status_code, edited["ETag"], edited.json()["content"]) == (200, '"2"', "Second")
    assert api.patch(page, {"content": "Third"}, HTTP_IF_MATCH='"1"').status_code == 412
    assert api.patch(page, {"content": "Second"}).json()["version"] == 2
    assert list(MessageVersion.objects.values_list("version", "content", "replaced_by_id")) == [
        (1, "First", conversation.user_id)
    ]
    assert event_types() == ["message.edited"]


def test_deleting_takes_what_follows_along_and_shows_the_branch_beside(
    api: APIClient, conversation: Conversation, url: str
) -> None:
    root = MessageFactory(conversation=conversation, content="Q", parent=None)
    old = AnswerFactory(conversation=conversation, parent=root, content="A1")
    new = AnswerFactory(conversation=conversation, parent=root, content="A2")
    end = MessageFactory(conversation=conversation, parent=new, content="Q2")
    assert api.delete(f"{url}/{new.public_id}").status_code == 204
    assert contents(api.get(url)) == ["Q", "A1"]
    assert api.get(f"{url}/{end.public_id}").status_code == 404
    assert contents(api.get(f"{url}?branch=all")) == ["Q", "A1"]
    api.delete(f"{url}/{old.public_id}")
    assert contents(api.get(url)) == ["Q"]
    api.delete(f"{url}/{root.public_id}")
    conversation.refresh_from_db()
    assert (conversation.active_message_id, conversation.message_count) == (None, 0)
    assert api.delete(f"{url}/{root.public_id}").status_code == 404
    counts = Event.objects.filter(type="message.deleted").order_by("position").values_list("payload__count", flat=True)
    assert list(counts) == [2, 1, 1]


def test_deleting_beside_the_active_branch_leaves_it(api: APIClient, conversation: Conversation, url: str) -> None:
    root = MessageFactory(conversation=conversation, content="Q", parent=None)
    old = AnswerFactory(conversation=conversation, parent=root, content="A1")
    AnswerFactory(conversation=conversation, parent=root, content="A2")
    api.delete(f"{url}/{old.public_id}")
    assert contents(api.get(url)) == ["Q", "A2"]


def test_a_running_answer_is_neither_followed_nor_edited_nor_deleted(
    api: APIClient, conversation: Conversation, url: str
) -> None:
    run = make_run(conversation=conversation, owner_id=uuid7())
    answers = [
        api.post(url, {"content": "Go on"}),
        api.patch(f"{url}/{run.message.public_id}", {"content": "Mine"}),
        api.delete(f"{url}/{run.sent_message.public_id}"),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (409, "conversations.answer_running")
    ] * 3
    assert Message.objects.alive().count() == 2
    beside = api.post(url, {"content": "Beside", "parent_id": run.sent_message.public_id})
    assert beside.json()["siblings"] == [run.message.public_id, beside.json()["id"]]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"content": "\n\t "}, 400),
        ({"content": "x", "role": "assistant"}, 400),
        ({"content": "x", "parent_id": "msg_nonsense"}, 400),
        ({"content": "x", "parent_id": Message(id=uuid7()).public_id}, 404),
        ({"content": "x", "typo": 1}, 400),
    ],
)
def test_what_cannot_be_sent(api: APIClient, conversation: Conversation, url: str, body: Any, status: int) -> None:
    assert api.post(url, body).status_code == status
    assert not Message.objects.exists()


def test_a_parent_of_another_conversation_is_not_there(
    api: APIClient, member: Membership, conversation: Conversation, url: str
) -> None:
    foreign = MessageFactory(conversation=ConversationFactory(membership=member))
    assert api.post(url, {"content": "x", "parent_id": foreign.public_id}).status_code == 404
    assert api.patch(f"{url}/{foreign.public_id}", {"content": "x"}).status_code == 404
    assert api.delete(f"{url}/{foreign.public_id}").status_code == 404
    assert Message.objects.get().content == foreign.content
