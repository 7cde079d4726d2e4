"""/api/v3/conversations: what somebody may do with their own conversations, and nobody with another's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.conversations.api.serializers import ConversationOutput
from apps.conversations.choices import RunStatus
from apps.conversations.models import Conversation, Run
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.users.models import Membership
from tests.factories.conversations import AnswerFactory, ConversationFactory, MessageFactory, make_run
from tests.factories.users import MembershipFactory

pytestmark = pytest.mark.django_db
URL = "/api/v3/conversations"


@pytest.fixture
def conversation(member: Membership) -> Conversation:
    return ConversationFactory(membership=member, title="Cats of the coast")


def event_types() -> list[str]:
    ours = Event.objects.filter(aggregate_type="conversation").order_by("position")
    return list(ours.values_list("type", flat=True))


def test_a_conversation_is_created_with_its_etag_and_event(api: APIClient, member: Membership) -> None:
    answer = api.post(URL, {"title": "Spring", "model": "sandbox-small"})
    assert (answer.status_code, answer["ETag"]) == (201, '"1"')
    row = Conversation.objects.get()
    assert (row.organization_id, row.user_id, row.title) == (member.organization_id, member.user_id, "Spring")
    body = answer.json()
    assert set(body) == set(ConversationOutput().fields)
    assert (body["id"], body["active_message_id"], body["message_count"]) == (row.public_id, None, 0)
    assert event_types() == ["conversation.created"]


def test_creating_twice_with_one_key_creates_once(api: APIClient) -> None:
    first, second = (api.post(URL, {"title": "Once"}, HTTP_IDEMPOTENCY_KEY="k-1") for _ in range(2))
    assert second.content == first.content
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"titel": "x"}, "titel"),
        ({"title": "a\x00b"}, "title"),
    ],
)
def test_what_cannot_be_a_conversation_is_refused(api: APIClient, body: dict[str, Any], field: str) -> None:
    answer = api.post(URL, body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert not Conversation.objects.exists()


def test_the_list_shows_ones_own_latest_message_first_in_pages(api: APIClient, member: Membership) -> None:
    now = timezone.now()
    rows = [ConversationFactory(membership=member, last_message_at=now - timedelta(minutes=age)) for age in (3, 1, 2)]
    ConversationFactory()
    ConversationFactory(membership=MembershipFactory(organization=member.organization))
    ConversationFactory(membership=member, deleted_at=now)
    first = api.get(f"{URL}?page_size=2").json()
    second = api.get(first["next"]).json()
    assert [item["id"] for item in first["items"] + second["items"]] == [rows[i].public_id for i in (1, 2, 0)]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("search=CATS", ["Cats of the coast"]),
        ("search=coast cat", ["Cats of the coast"]),
        ("search=50%25", ["50% off"]),
        ("search=_", []),
        ("model=other", ["50% off"]),
        ("since=2999-01-01T00:00:00Z", []),
        ("until=2999-01-01T00:00:00Z", ["Cats of the coast", "50% off"]),
    ],
)
def test_the_list_is_filtered(
    api: APIClient, member: Membership, conversation: Conversation, query: str, titles: list[str]
) -> None:
    ConversationFactory(
        membership=member, title="50% off", model="other", last_message_at=conversation.created_at - timedelta(1)
    )
    assert [item["title"] for item in api.get(f"{URL}?{query}").json()["items"]] == titles


@pytest.mark.parametrize("query", ["search=%00", "since=yesterday", "cursor=nonsense"])
def test_a_filter_that_makes_no_sense_is_a_problem(api: APIClient, query: str) -> None:
    answer = api.get(f"{URL}?{query}")
    assert answer.status_code in {400, 404}
    assert answer["Content-Type"] == "application/problem+json"


def test_a_hundred_conversations_take_as_many_queries_as_one(
    api: APIClient, member: Membership, django_assert_num_queries: Any
) -> None:
    ConversationFactory.create_batch(101, membership=member)
    api.get(URL)
    with django_assert_num_queries(LIST_QUERIES):
        assert len(api.get(f"{URL}?page_size=1").json()["items"]) == 1
    with django_assert_num_queries(LIST_QUERIES):
        assert len(api.get(f"{URL}?page_size=100").json()["items"]) == 100


# Key, membership, page.
LIST_QUERIES = 3


def test_a_change_needs_the_version_that_was_seen(api: APIClient, conversation: Conversation) -> None:
    url = f"{URL}/{conversation.public_id}"
    changed = api.patch(url, {"title": "Dogs"}, HTTP_IF_MATCH=api.get(url)["ETag"])
    assert (changed.status_code, changed["ETag"], changed.json()["title"]) == (200, '"2"', "Dogs")
    late = api.patch(url, {"title": "Birds"}, HTTP_IF_MATCH='"1"')
    assert (late.status_code, late["ETag"]) == (412, '"2"')
    conversation.refresh_from_db()
    assert (conversation.title, conversation.version) == ("Dogs", 2)
    assert event_types() == ["conversation.changed"]


def test_a_change_of_nothing_changes_nothing(api: APIClient, conversation: Conversation) -> None:
    assert api.patch(f"{URL}/{conversation.public_id}", {}).json()["version"] == 1
    assert event_types() == []


def test_activating_a_message_shows_the_newest_branch_below_it(api: APIClient, conversation: Conversation) -> None:
    root = MessageFactory(conversation=conversation, parent=None)
    old, old_end = AnswerFactory(conversation=conversation, parent=root), MessageFactory(conversation=conversation)
    AnswerFactory(conversation=conversation, parent=root)
    answer = api.patch(f"{URL}/{conversation.public_id}", {"active_message_id": old.public_id})
    assert answer.json()["active_message_id"] == old_end.public_id


def test_a_message_of_another_conversation_cannot_be_activated(api: APIClient, conversation: Conversation) -> None:
    foreign = MessageFactory()
    answer = api.patch(f"{URL}/{conversation.public_id}", {"active_message_id": foreign.public_id})
    assert answer.status_code == 404
    assert api.patch(f"{URL}/{conversation.public_id}", {"active_message_id": "msg_x"}).status_code == 400
    conversation.refresh_from_db()
    assert conversation.active_message_id is None


def test_deleted_is_gone_until_it_is_restored(api: APIClient, conversation: Conversation) -> None:
    url = f"{URL}/{conversation.public_id}"
    run = make_run(conversation=conversation, owner_id=uuid7())
    assert api.delete(url, HTTP_IF_MATCH='"9"').status_code == 412
    assert api.delete(url).status_code == 204
    assert [api.get(url).status_code, api.delete(url).status_code] == [404, 404]
    assert Run.objects.get(id=run.id).cancel_requested_at is not None
    restored = api.post(f"{url}/restore")
    assert (restored.status_code, restored.json()["title"]) == (200, "Cats of the coast")
    assert api.post(f"{url}/restore").json()["version"] == restored.json()["version"]
    assert api.get(url).status_code == 200
    assert event_types() == ["conversation.deleted", "conversation.restored"]


def test_deleting_leaves_finished_runs_alone(api: APIClient, conversation: Conversation) -> None:
    run = make_run(conversation=conversation, owner_id=uuid7(), status=RunStatus.COMPLETE, finished_at=timezone.now())
    api.delete(f"{URL}/{conversation.public_id}")
    assert Run.objects.get(id=run.id).cancel_requested_at is None


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("get", "", None), ("patch", "", {"title": "Mine"}), ("delete", "", None), ("post", "/restore", {}),
        ("get", "/messages", None), ("post", "/messages", {"content": "Hi"}),
        ("get", "/messages/{mid}", None), ("patch", "/messages/{mid}", {"content": "Hi"}), ("delete", "/messages/{mid}", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("whose", ["a stranger's", "a colleague's"])
def test_what_is_anothers_cannot_be_told_from_what_is_not_there(
    api: APIClient, member: Membership, method: str, suffix: str, body: Any, whose: str
) -> None:
    owner = MembershipFactory(organization=member.organization) if whose == "a colleague's" else MembershipFactory()
    message = MessageFactory(conversation=ConversationFactory(membership=owner))
    before = list(Conversation.objects.values()), message.content
    answers = []
    for cid, mid in [
        (message.conversation.public_id, message.public_id),
        (Conversation(id=uuid7()).public_id, message.public_id),
        ("conv_nonsense", "msg_nonsense"),
    ]:
        url = f"{URL}/{cid}{suffix.format(mid=mid)}"
        answers.append(getattr(api, method)(url, body, HTTP_X_REQUEST_ID="same-request-id"))
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert answers[0].content == answers[1].content == answers[2].content
    message.refresh_from_db()
    assert (list(Conversation.objects.values()), message.content) == before


def test_a_key_without_the_scope_is_refused(member: Membership, api_as: Callable[..., APIClient]) -> None:
    conversation = ConversationFactory(membership=member)
    client = api_as(member)
    member.user.api_keys.update(scopes=["conversations:read"])
    url = f"{URL}/{conversation.public_id}"
    assert [client.get(URL).status_code, client.get(url).status_code] == [200, 200]
    refused = [
        client.post(URL, {}),
        client.patch(url, {"title": "x"}),
        client.delete(url),
        client.post(f"{url}/restore"),
    ]
    assert [answer.status_code for answer in refused] == [403] * 4
    assert Conversation.objects.get().title == conversation.title


def test_the_anonymous_are_refused() -> None:
    assert APIClient().get(URL).status_code == 401
