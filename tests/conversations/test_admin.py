"""Staff sees metadata; content only for a reason that is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from apps.conversations.models import Conversation
from apps.core.ids import uuid7
from apps.events.models import Event
from tests.factories.conversations import (
    AnsweringProcessFactory,
    ConversationFactory,
    MessageFactory,
    SummaryFactory,
    make_run,
)
from tests.factories.users import UserFactory

pytestmark = pytest.mark.django_db
SECRET = "the-very-private-words"
Login = Callable[..., Client]


@pytest.fixture
def staff() -> Login:
    def login(*permissions: str) -> Client:
        user = UserFactory(is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return login


@pytest.fixture
def conversation() -> Conversation:
    conversation = ConversationFactory(title=f"Title with {SECRET}")
    MessageFactory(conversation=conversation, content=f"Once upon {SECRET}")
    return conversation


def url(conversation: Conversation, page: str) -> str:
    return f"/admin/conversations/conversation/{conversation.id}/{page}"


def test_lists_and_pages_show_metadata_only(staff: Login, conversation: Conversation) -> None:
    run = make_run(conversation=conversation, owner_id=AnsweringProcessFactory().id)
    summary = SummaryFactory(conversation=conversation, text=f"About {SECRET}")
    client = staff("view_conversation", "view_conversationsummary", "view_message", "view_run", "view_answeringprocess")
    pages = [
        "/admin/conversations/conversation/",
        f"/admin/conversations/conversation/?q={conversation.public_id}",
        "/admin/conversations/conversation/?deleted=no",
        url(conversation, "change/"),
        "/admin/conversations/message/",
        f"/admin/conversations/message/{conversation.active_message_id}/change/",
        "/admin/conversations/conversationsummary/",
        f"/admin/conversations/conversationsummary/?q={summary.public_id}",
        f"/admin/conversations/conversationsummary/{summary.id}/change/",
        "/admin/conversations/run/",
        f"/admin/conversations/run/{run.id}/change/",
    ]
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == 200, page
        assert SECRET not in answer.content.decode(), page
    assert conversation.public_id in client.get(pages[1]).content.decode()
    page = client.get(url(conversation, "change/")).content.decode()
    assert f"/admin/conversations/conversationsummary/{summary.id}/change/" in page
    assert "1 messages, wise-model" in page
    assert "0.001200" in client.get("/admin/conversations/conversationsummary/").content.decode()
    assert "None yet" in client.get(url(ConversationFactory(), "change/")).content.decode()
    assert b"test:1" in client.get("/admin/conversations/answeringprocess/").content
    assert conversation.public_id not in client.get("/admin/conversations/conversation/?deleted=yes").content.decode()
    by_email = client.get(f"/admin/conversations/conversation/?q={conversation.user.email}").content.decode()
    assert conversation.public_id in by_email


def test_searching_for_words_finds_nothing(staff: Login, conversation: Conversation) -> None:
    page = staff("view_conversation").get("/admin/conversations/conversation/?q=private").content.decode()
    assert conversation.public_id not in page


def test_a_reveal_needs_its_own_permission(staff: Login, conversation: Conversation) -> None:
    client = staff("view_conversation", "change_conversation")
    answer = client.post(url(conversation, "reveal/"), {"reason": "Ticket 4711, owner asked"})
    assert answer.status_code == 403
    assert not Event.objects.filter(type="conversation.revealed").exists()


@pytest.mark.parametrize("reason", ["", "because"])
def test_a_reveal_needs_a_reason(staff: Login, conversation: Conversation, reason: str) -> None:
    client = staff("view_conversation", "reveal_conversation")
    for answer in (
        client.get(url(conversation, "reveal/")),
        client.post(url(conversation, "reveal/"), {"reason": reason}),
    ):
        assert answer.status_code == 200
        assert SECRET not in answer.content.decode()
    assert not Event.objects.filter(type="conversation.revealed").exists()


def test_a_reveal_shows_the_content_and_is_recorded_with_its_reason(staff: Login, conversation: Conversation) -> None:
    client = staff("view_conversation", "reveal_conversation")
    SummaryFactory(conversation=conversation, last_message=conversation.active_message, text=f"About {SECRET}")
    answer = client.post(url(conversation, "reveal/"), {"reason": "Ticket 4711, the owner asked us"})
    assert f"Once upon {SECRET}" in answer.content.decode()
    assert f"About {SECRET}" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    event = Event.objects.get(type="conversation.revealed")
    assert event.payload == {"reason": "Ticket 4711, the owner asked us", "message_count": 1}
    assert (event.aggregate_id, event.organization_id) == (conversation.id, conversation.organization_id)
    assert event.actor["user_id"] == client.session["_auth_user_id"]
    assert SECRET not in client.get(url(conversation, "reveal/")).content.decode()


def test_what_is_not_there_cannot_be_revealed(staff: Login) -> None:
    client = staff("view_conversation", "reveal_conversation")
    assert client.post(f"/admin/conversations/conversation/{uuid7()}/reveal/", {"reason": "x" * 20}).status_code == 404


def test_staff_restores_with_permission_only(staff: Login, conversation: Conversation) -> None:
    Conversation.objects.update(deleted_at=timezone.now())
    alive = ConversationFactory()
    order = {"action": "restore", "_selected_action": [str(conversation.id), str(alive.id)]}
    staff("view_conversation").post("/admin/conversations/conversation/", order)
    assert Conversation.objects.deleted().count() == 1
    staff("view_conversation", "change_conversation").post("/admin/conversations/conversation/", order)
    assert Conversation.objects.deleted().count() == 0
    assert Event.objects.filter(type="conversation.restored").count() == 1


@pytest.mark.parametrize("verb", ["add/", "{}/change/", "{}/delete/"])
def test_nobody_writes_here(staff: Login, conversation: Conversation, verb: str) -> None:
    client = staff("view_conversation", "add_conversation", "change_conversation", "delete_conversation")
    answer = client.post(f"/admin/conversations/conversation/{verb.format(conversation.id)}", {"title": "Mine"})
    assert answer.status_code == 403
    assert Conversation.objects.get().title == conversation.title
