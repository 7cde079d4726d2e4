"""Factories of the conversations house."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from apps.conversations.choices import MessageRole, MessageStatus, RunStatus
from apps.conversations.models import AnsweringProcess, Conversation, ConversationSummary, Message, Run
from apps.core.ids import uuid7
from apps.gateway.choices import AnalysisMethod
from tests.factories.users import MembershipFactory


class ConversationFactory(DjangoModelFactory):
    """An empty conversation of a fresh member, or of `membership`."""

    class Meta:
        model = Conversation

    class Params:
        membership = factory.SubFactory(MembershipFactory)

    organization = factory.SelfAttribute("membership.organization")
    user = factory.SelfAttribute("membership.user")
    title = factory.Sequence(lambda n: f"Conversation {n}")
    model = "sandbox-small"


class MessageFactory(DjangoModelFactory):
    """The next message of a conversation, at the end of its active branch unless `parent` says otherwise."""

    class Meta:
        model = Message

    conversation = factory.SubFactory(ConversationFactory)
    parent = factory.SelfAttribute("conversation.active_message")
    number = factory.LazyAttribute(lambda message: message.conversation.last_number + 1)
    role = MessageRole.USER
    content = factory.Sequence(lambda n: f"Message {n}")
    status = MessageStatus.COMPLETE

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        message = super()._create(model_class, *args, **kwargs)
        conversation = message.conversation
        conversation.active_message = message
        conversation.last_number = message.number
        conversation.message_count += 1
        conversation.save()
        return message


class AnswerFactory(MessageFactory):
    role = MessageRole.ASSISTANT
    model = "sandbox-small"


class SummaryFactory(DjangoModelFactory):
    """A model's summary of a conversation's last message, as it was."""

    class Meta:
        model = ConversationSummary

    conversation = factory.SubFactory(ConversationFactory)
    last_message = factory.LazyAttribute(lambda summary: MessageFactory(conversation=summary.conversation))
    message_count = 1
    digest = "0" * 64
    text = "Once upon a time."
    method = AnalysisMethod.MODEL
    model = "wise-model"
    cost_micros = 1200
    made_at = factory.LazyFunction(timezone.now)


class AnsweringProcessFactory(DjangoModelFactory):
    class Meta:
        model = AnsweringProcess

    id = factory.LazyFunction(uuid7)
    host = "test"
    pid = 1
    lease_until = factory.LazyFunction(lambda: timezone.now() + timedelta(seconds=60))


def make_run(*, conversation: Conversation, owner_id: UUID, status: str = RunStatus.RUNNING, **fields) -> Run:
    """Return a run with its question and its empty answer."""
    question = MessageFactory(conversation=conversation)
    answer = AnswerFactory(conversation=conversation, status=MessageStatus.RUNNING)
    return Run.objects.create(
        organization_id=conversation.organization_id,
        user_id=conversation.user_id,
        conversation=conversation,
        message=answer,
        sent_message=question,
        model="sandbox-small",
        status=status,
        request_id=uuid7(),
        owner_id=owner_id,
        **fields,
    )
