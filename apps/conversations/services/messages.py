"""Send, edit and delete messages."""

from __future__ import annotations

from enum import Enum
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from apps.conversations.choices import MessageRole, MessageStatus, TitleOrigin
from apps.conversations.errors import AnswerRunning
from apps.conversations.events import MessageDeleted, MessageEdited, MessageSent
from apps.conversations.models import Conversation, Message, MessageVersion
from apps.conversations.selectors.outline import Outline, outline_of
from apps.conversations.services.conversations import lock_conversation
from apps.conversations.services.texts import check_text, derive_title
from apps.core.actor import Actor
from apps.core.errors import NotFound, PreconditionFailed
from apps.events.services import publish


class Place(Enum):
    """Where a message goes when no parent is named: to the end of the active branch."""

    ACTIVE = "active"


Parent = UUID | None | Place


def resolve_parent(*, conversation: Conversation, parent: Parent) -> UUID | None:
    """Return the id of the message to follow; None begins the conversation anew beside its first message.

    Raise NotFound for a message elsewhere, AnswerRunning for an answer that is not finished.
    """
    parent_id = conversation.active_message_id if isinstance(parent, Place) else parent
    if parent_id is None:
        return None
    found = Message.objects.alive().filter(conversation=conversation, id=parent_id).values_list("status").first()
    if found is None:
        raise NotFound()
    if found[0] == MessageStatus.RUNNING:
        raise AnswerRunning("Wait for the running answer or cancel it before you go on from it.")
    return parent_id


def append_message(
    *, conversation: Conversation, parent_id: UUID | None, role: str, content: str = "", model: str = "", status: str
) -> Message:
    """Add a message to a locked conversation and make it the active one. The caller saves the conversation."""
    conversation.last_number += 1
    conversation.message_count += 1
    message = Message.objects.create(
        conversation=conversation,
        parent_id=parent_id,
        number=conversation.last_number,
        role=role,
        content=content,
        model=model,
        status=status,
    )
    conversation.active_message = message
    conversation.last_message_at = timezone.now()
    return message


def add_sent_message(
    *, actor: Actor, conversation: Conversation, parent: Parent, content: str, role: str = MessageRole.USER
) -> Message:
    """Add what a person wrote to a locked conversation, title it if it has none, and publish it."""
    message = append_message(
        conversation=conversation,
        parent_id=resolve_parent(conversation=conversation, parent=parent),
        role=role,
        content=check_text(content),
        status=MessageStatus.COMPLETE,
    )
    if not conversation.title and role == MessageRole.USER:
        conversation.title = derive_title(content)
        conversation.title_origin = TitleOrigin.WORDS
    publish(
        MessageSent(
            aggregate_id=conversation.id,
            organization_id=conversation.organization_id,
            message_id=message.id,
            role=role,
            characters=len(content),
        ),
        actor=actor,
    )
    return message


GROWN = ("active_message", "last_number", "message_count", "last_message_at", "title", "title_origin", "model")


@transaction.atomic
def send_message(
    *,
    actor: Actor,
    conversation_id: UUID,
    content: str,
    parent: Parent = Place.ACTIVE,
    role: str = MessageRole.USER,
) -> Message:
    """Add a message without asking for an answer. Raise NotFound, AnswerRunning, TextInvalid, TextTooLong."""
    conversation = lock_conversation(actor=actor, conversation_id=conversation_id)
    message = add_sent_message(actor=actor, conversation=conversation, parent=parent, content=content, role=role)
    conversation.touch(*GROWN)
    return message


def _lock_message(*, actor: Actor, conversation: Conversation, message_id: UUID) -> Message:
    found = (
        Message.objects.visible_to(actor)
        .alive()
        .filter(conversation=conversation, id=message_id)
        .select_for_update(of=("self",))
        .first()
    )
    if found is None:
        raise NotFound()
    return found


@transaction.atomic
def edit_message(
    *, actor: Actor, conversation_id: UUID, message_id: UUID, content: str, expected_version: int | None = None
) -> Message:
    """Replace a message's text and keep what it said before. What was answered to the old text stays.

    Raise NotFound, AnswerRunning, PreconditionFailed, TextInvalid, TextTooLong.
    """
    conversation = lock_conversation(actor=actor, conversation_id=conversation_id)
    message = _lock_message(actor=actor, conversation=conversation, message_id=message_id)
    if message.status == MessageStatus.RUNNING:
        raise AnswerRunning("An answer can be edited when it is finished.")
    if expected_version is not None and message.version != expected_version:
        raise PreconditionFailed(
            f"{message.public_id} is at version {message.version}, If-Match named {expected_version}.",
            headers={"ETag": message.etag},
        )
    if check_text(content) == message.content:
        return message
    MessageVersion.objects.create(
        message=message, version=message.version, content=message.content, replaced_by_id=actor.user_id
    )
    message.content = content
    message.version += 1
    message.save(update_fields=["content", "version", "updated_at"])
    publish(
        MessageEdited(
            aggregate_id=conversation.id,
            organization_id=conversation.organization_id,
            message_id=message.id,
            version=message.version,
        ),
        actor=actor,
    )
    return message


@transaction.atomic
def delete_message(*, actor: Actor, conversation_id: UUID, message_id: UUID) -> int:
    """Delete a message and everything that follows from it; return how many messages went.

    A deleted active branch gives way to the newest one beside it, else to what came before. Raise NotFound,
    AnswerRunning when an answer below still runs.
    """
    conversation = lock_conversation(actor=actor, conversation_id=conversation_id)
    outline = outline_of(conversation.id)
    if message_id not in outline:
        raise NotFound()
    doomed = outline.subtree(message_id)
    messages = Message.objects.alive().filter(id__in=doomed)
    if messages.filter(status=MessageStatus.RUNNING).exists():
        raise AnswerRunning("Cancel the running answer before you delete what it answers.")
    count = messages.update(deleted_at=Now(), version=F("version") + 1)
    conversation.message_count -= count
    if conversation.active_message_id in doomed:
        conversation.active_message_id = _branch_beside(outline, message_id)
    conversation.touch("message_count", "active_message")
    publish(
        MessageDeleted(
            aggregate_id=conversation.id,
            organization_id=conversation.organization_id,
            message_id=message_id,
            count=count,
        ),
        actor=actor,
    )
    return count


def _branch_beside(outline: Outline, message_id: UUID) -> UUID | None:
    """Return the end of the newest branch that is left once a message is gone."""
    left = [sibling for sibling in outline.siblings(message_id) if sibling != message_id]
    return outline.newest_leaf(left[-1]) if left else outline.parents[message_id]
