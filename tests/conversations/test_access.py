"""Who reaches what, below the entrances."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import AsyncClient
from django.utils import timezone
from oauth2_provider.models import get_access_token_model

from apps.conversations.choices import RunStatus
from apps.conversations.errors import PersonNeeded
from apps.conversations.models import Conversation, Message, Run
from apps.conversations.runtime.database import in_database
from apps.conversations.selectors.runs import read_standing, withdrawn
from apps.conversations.services import runs as runs_module
from apps.conversations.services.conversations import (
    change_conversation,
    create_conversation,
    restore_conversation,
    reveal_conversation,
)
from apps.conversations.services.runs import Again, Chat, Repeat, repeat_of, start_run
from apps.core.actor import Actor, ActorKind, system_actor
from apps.core.errors import NotFound
from apps.core.ids import uuid7
from apps.users.choices import CredentialKind
from apps.users.models import Membership, UserSession
from apps.users.selectors.credentials import Credential
from tests.conversations.conftest import Chatter, settle
from tests.factories.conversations import ConversationFactory, MessageFactory, make_run
from tests.factories.users import PASSWORD, ApiKeyFactory, OAuthClientFactory
from tests.support.fake_gateway import FakeGateway

pytestmark = pytest.mark.django_db


def test_the_platform_sees_all_and_nobody_sees_nothing() -> None:
    run = make_run(conversation=ConversationFactory(), owner_id=uuid7())
    nobody = Actor(kind=ActorKind.OAUTH_CLIENT, organization_id=run.organization_id)
    for model, count in ((Conversation, 1), (Message, 2), (Run, 1)):
        assert model.objects.visible_to(system_actor()).count() == count
        assert model.objects.visible_to(nobody).count() == 0


def test_a_conversation_needs_a_person(member: Membership) -> None:
    with pytest.raises(PersonNeeded):
        create_conversation(actor=Actor(kind=ActorKind.OAUTH_CLIENT, organization_id=member.organization_id))
    assert not Conversation.objects.exists()


def test_what_is_not_there_is_neither_restored_nor_revealed_nor_read(actor: Actor) -> None:
    with pytest.raises(NotFound):
        restore_conversation(actor=actor, conversation_id=uuid7())
    with pytest.raises(NotFound):
        reveal_conversation(actor=actor, conversation_id=uuid7(), reason="Ticket 4711")
    with pytest.raises(NotFound):
        read_standing(run_id=uuid7(), after=1)


def test_the_model_can_be_changed(actor: Actor) -> None:
    conversation = create_conversation(actor=actor, model="one")
    assert change_conversation(actor=actor, conversation_id=conversation.id, change={"model": "two"}).model == "two"


def test_there_must_be_something_to_answer_again(actor: Actor, member: Membership) -> None:
    conversation = ConversationFactory(membership=member)
    orphan = MessageFactory(conversation=conversation, role="assistant", parent=None)
    with pytest.raises(runs_module.NotAnswerable):
        start_run(
            actor=actor, run_id=uuid7(), owner_id=uuid7(), asked=Again(conversation.id, orphan.id), repeat=Repeat()
        )
    with pytest.raises(NotFound):
        start_run(actor=actor, run_id=uuid7(), owner_id=uuid7(), asked=Again(conversation.id, uuid7()), repeat=Repeat())
    assert not Run.objects.exists()


def test_two_starts_with_one_key_at_the_same_moment_make_one_run(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second looks before the first has committed, and meets the unique constraint."""
    asked = Chat("Hi", model="fake")
    repeat = repeat_of("k", asked)
    first = start_run(actor=actor, run_id=uuid7(), owner_id=uuid7(), asked=asked, repeat=repeat)
    real, looks = runs_module._find_earlier, iter([None])
    monkeypatch.setattr(runs_module, "_find_earlier", lambda **asked: next(looks, ...) and real(**asked))
    second = start_run(actor=actor, run_id=uuid7(), owner_id=uuid7(), asked=asked, repeat=repeat)
    assert (second.run.id, second.is_new) == (first.run.id, False)
    assert (Run.objects.count(), Conversation.objects.count()) == (1, 1)


def test_another_broken_constraint_is_not_mistaken_for_a_repeat(actor: Actor) -> None:
    asked, run_id = Chat("Hi", model="fake"), uuid7()
    start_run(actor=actor, run_id=run_id, owner_id=uuid7(), asked=asked, repeat=Repeat())
    with pytest.raises(runs_module.IntegrityError):
        start_run(actor=actor, run_id=run_id, owner_id=uuid7(), asked=asked, repeat=Repeat())


def test_a_run_and_its_rows_have_names() -> None:
    run = make_run(conversation=ConversationFactory(), owner_id=uuid7())
    assert (str(run), str(run.message), str(run.conversation)) == (
        run.public_id, run.message.public_id, run.conversation.public_id,
    )  # fmt: skip
    assert run.duration_seconds is None
    run.status, run.finished_at = RunStatus.COMPLETE, run.created_at + timedelta(seconds=3)
    assert run.duration_seconds == 3.0


# Credentials of open streams


def credential(kind: CredentialKind, row_id: object, member: Membership) -> Credential:
    return Credential(kind, row_id, member.user_id, member.organization_id)


@pytest.fixture
def key(member: Membership) -> Credential:
    return credential(CredentialKind.API_KEY, ApiKeyFactory(membership=member).id, member)


@pytest.fixture
def session(member: Membership) -> Credential:
    row = UserSession.objects.create(user=member.user, kind="web", expires_at=timezone.now() + timedelta(hours=1))
    return credential(CredentialKind.SESSION, row.id, member)


@pytest.fixture
def token(member: Membership) -> Credential:
    application = OAuthClientFactory(organization=member.organization, user=member.user)
    row = get_access_token_model().objects.create(
        user=member.user, application=application, token="t", expires=timezone.now() + timedelta(hours=1)
    )
    return credential(CredentialKind.OAUTH_TOKEN, row.id, member)


def test_what_is_live_may_listen(key: Credential, session: Credential, token: Credential) -> None:
    assert withdrawn([key, session, token]) == set()


def test_each_kind_ends_by_itself(key: Credential, session: Credential, token: Credential) -> None:
    UserSession.objects.update(revoked_at=timezone.now(), revoked_because="logout")
    assert withdrawn([key, session, token]) == {session}
    get_access_token_model().objects.update(expires=timezone.now())
    assert withdrawn([key, session, token]) == {session, token}


@pytest.mark.parametrize("how", ["person", "organization", "membership"])
def test_all_end_with_the_person_the_organization_and_the_membership(
    member: Membership, key: Credential, session: Credential, token: Credential, how: str
) -> None:
    endings = {
        "person": lambda: type(member.user).objects.update(is_active=False),
        "organization": lambda: type(member.organization).objects.update(is_active=False),
        "membership": member.delete,
    }
    endings[how]()
    assert withdrawn([key, session, token]) == {key, session, token}


def test_one_look_serves_everybody(key: Credential, member: Membership, django_assert_num_queries) -> None:
    many = [credential(CredentialKind.API_KEY, ApiKeyFactory(membership=member).id, member) for _ in range(20)]
    with django_assert_num_queries(2):
        assert withdrawn(many) == set()


# The web session


async def test_a_browser_needs_its_csrf_token(chatter: Chatter, gateway: FakeGateway) -> None:
    browser = AsyncClient(enforce_csrf_checks=True)
    await in_database(browser.login, email=chatter.membership.user.email, password=PASSWORD)
    body = {"content": "Hi", "model": "fake"}
    refused = await browser.post("/api/v3/chat", body, content_type="application/json")
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    assert gateway.requests == []
    token = "a" * 32
    browser.cookies["csrftoken"] = token
    admitted = await browser.post("/api/v3/chat", body, content_type="application/json", headers={"X-CSRFToken": token})
    assert admitted.status_code == 200
    await settle()


async def test_the_anonymous_and_the_scopeless_do_not_chat(chatter: Chatter, gateway: FakeGateway) -> None:
    anonymous = await AsyncClient().post("/api/v3/chat/stream", {"content": "Hi"}, content_type="application/json")
    assert (anonymous.status_code, anonymous["Content-Type"]) == (401, "application/problem+json")
    chatter.key.scopes = ["conversations:read"]
    await in_database(chatter.key.save)
    run_path = f"/chat/{Run(id=uuid7()).public_id}"
    answers = [
        await chatter.post("/chat", {"content": "Hi", "model": "fake"}),
        await chatter.post("/chat/stream", {"content": "Hi", "model": "fake"}),
        await chatter.post(f"{run_path}/cancel"),
        await chatter.get(f"{run_path}/stream"),
        await chatter.get("/chat"),
        await chatter.get(f"{run_path}/stream?after=x"),
    ]
    assert [answer.status_code for answer in answers] == [403, 403, 403, 404, 405, 400]
    assert gateway.requests == []
