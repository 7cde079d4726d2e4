"""What the database itself refuses."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.utils import DatabaseError
from django.utils import timezone

from apps.conversations.choices import MessageRole, MessageStatus
from apps.conversations.models import Conversation, Message, Run, RunDelta
from apps.core.ids import uuid7
from apps.users.models import Membership
from tests.factories.conversations import AnswerFactory, ConversationFactory, MessageFactory, make_run

pytestmark = pytest.mark.django_db


def commit_constraints() -> None:
    """Check now what is otherwise checked at commit."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def change(model: type, row_id: object, **values: object) -> None:
    """Change a row and check all its constraints at once."""
    model.objects.filter(id=row_id).update(**values)
    commit_constraints()


def test_a_parent_lies_in_the_same_conversation() -> None:
    foreign, message = MessageFactory(), MessageFactory()
    with pytest.raises(IntegrityError, match="conversations_message_parent_home"), transaction.atomic():
        change(Message, message.id, parent_id=foreign.id)
    child = MessageFactory(conversation=message.conversation)
    commit_constraints()
    assert child.parent_id == message.id


def test_the_active_message_lies_in_the_conversation() -> None:
    foreign, message = MessageFactory(), MessageFactory()
    with pytest.raises(IntegrityError, match="conversations_conversation_active_home"), transaction.atomic():
        change(Conversation, message.conversation_id, active_message_id=foreign.id)


def test_a_run_answers_a_message_of_its_own_conversation() -> None:
    run, foreign = make_run(conversation=ConversationFactory(), owner_id=uuid7()), AnswerFactory()
    with pytest.raises(IntegrityError, match="conversations_run_message_home"), transaction.atomic():
        change(Run, run.id, message_id=foreign.id)


def test_an_answer_has_one_run() -> None:
    run = make_run(conversation=ConversationFactory(), owner_id=uuid7())
    run.id, run.request_id = uuid7(), uuid7()
    with pytest.raises(IntegrityError, match="message_id"), transaction.atomic():
        run.save(force_insert=True)
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"status": MessageStatus.RUNNING}, "conversations_message_only_answers_run"),
        ({"role": "tool"}, "conversations_message_role"),
        ({"role": MessageRole.ASSISTANT, "status": "lost"}, "conversations_message_status"),
    ],
)
def test_a_persons_message_is_complete_and_words_are_known(values: dict[str, str], name: str) -> None:
    message = MessageFactory(role=MessageRole.USER)
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        Message.objects.filter(id=message.id).update(**values)
    Message.objects.filter(id=message.id).update(role=MessageRole.SYSTEM)


def test_a_message_is_not_its_own_parent() -> None:
    message = MessageFactory()
    with pytest.raises(IntegrityError, match="not_own_parent"), transaction.atomic():
        Message.objects.filter(id=message.id).update(parent_id=message.id)


def test_numbers_are_given_once_per_conversation() -> None:
    message = MessageFactory()
    with pytest.raises(IntegrityError, match="conversations_message_number"), transaction.atomic():
        MessageFactory(conversation=message.conversation, number=message.number)
    MessageFactory(number=message.number)


@pytest.mark.parametrize("values", [{"finished_at": timezone.now()}, {"status": "complete"}])
def test_a_run_is_finished_exactly_when_it_has_ended(values: dict[str, object]) -> None:
    run = make_run(conversation=ConversationFactory(), owner_id=uuid7())
    with pytest.raises(IntegrityError, match="conversations_run_ends_once"), transaction.atomic():
        Run.objects.filter(id=run.id).update(**values)


def test_an_idempotency_key_leads_to_one_run_per_caller() -> None:
    make_run(conversation=ConversationFactory(), owner_id=uuid7(), caller="a", idempotency_key="k")
    with pytest.raises(IntegrityError, match="conversations_run_idempotent"), transaction.atomic():
        make_run(conversation=ConversationFactory(), owner_id=uuid7(), caller="a", idempotency_key="k")
    make_run(conversation=ConversationFactory(), owner_id=uuid7(), caller="b", idempotency_key="k")
    make_run(conversation=ConversationFactory(), owner_id=uuid7(), caller="", idempotency_key="")
    make_run(conversation=ConversationFactory(), owner_id=uuid7(), caller="", idempotency_key="")
    assert Run.objects.count() == 4


def test_deltas_are_written_once_and_go_with_their_run() -> None:
    runs = [make_run(conversation=ConversationFactory(), owner_id=uuid7()) for _ in range(2)]
    for run in runs:
        RunDelta.objects.create(run_id=run.id, seq=2, text="Hello", created_at=timezone.now())
    with pytest.raises(DatabaseError, match="UPDATE is refused"), transaction.atomic():
        RunDelta.objects.filter(run_id=runs[0].id).update(text="Bye")
    runs[0].conversation.delete()
    assert list(RunDelta.objects.values_list("run_id", "text")) == [(runs[1].id, "Hello")]


def test_everything_goes_with_the_organization(member: Membership) -> None:
    run = make_run(conversation=ConversationFactory(membership=member), owner_id=uuid7())
    kept = MessageFactory()
    member.organization.delete()
    commit_constraints()
    assert list(Conversation.objects.all()) == [kept.conversation]
    assert not Run.objects.filter(id=run.id).exists()
