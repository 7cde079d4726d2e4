"""Create, change, delete, restore and reveal conversations."""

from __future__ import annotations

from typing import TypedDict
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from apps.conversations.choices import ACTIVE, TitleOrigin
from apps.conversations.errors import PersonNeeded
from apps.conversations.events import (
    ConversationChanged,
    ConversationCreated,
    ConversationDeleted,
    ConversationRestored,
    ConversationRevealed,
)
from apps.conversations.models import TITLE_LENGTH, Conversation, Run
from apps.conversations.selectors.outline import outline_of
from apps.conversations.services.texts import check_text
from apps.core.actor import Actor, system_actor
from apps.core.errors import NotFound, PreconditionFailed
from apps.events.services import publish


class ConversationChange(TypedDict, total=False):
    """What a person may change; absent keys stay as they are."""

    title: str
    model: str
    active_message_id: UUID


@transaction.atomic
def create_conversation(*, actor: Actor, title: str = "", model: str = "") -> Conversation:
    """Create an empty conversation of the actor's. Raise PersonNeeded for a caller that is nobody."""
    if actor.user_id is None or actor.organization_id is None:
        raise PersonNeeded("Act for a person who is a member of an organization.")
    if title:
        check_text(title, field="title", limit=TITLE_LENGTH)
    conversation = Conversation.objects.create(
        organization_id=actor.organization_id,
        user_id=actor.user_id,
        title=title,
        title_origin=TitleOrigin.PERSON if title else "",
        model=model,
    )
    publish(
        ConversationCreated(aggregate_id=conversation.id, organization_id=actor.organization_id, user_id=actor.user_id),
        actor=actor,
    )
    return conversation


def lock_conversation(*, actor: Actor, conversation_id: UUID) -> Conversation:
    """Return the actor's undeleted conversation, locked until the transaction ends. Raise NotFound."""
    found = Conversation.objects.visible_to(actor).alive().locked().filter(id=conversation_id).first()
    if found is None:
        raise NotFound()
    return found


@transaction.atomic
def change_conversation(
    *, actor: Actor, conversation_id: UUID, change: ConversationChange, expected_version: int | None = None
) -> Conversation:
    """Change title, model or active branch; a message in the middle activates the newest branch below it.

    Raise PreconditionFailed when the row is no longer at the expected version, NotFound for a message elsewhere.
    """
    conversation = lock_conversation(actor=actor, conversation_id=conversation_id)
    check_version(conversation, expected_version)
    fields: list[str] = []
    if "title" in change:
        conversation.title = check_text(change["title"], field="title", limit=TITLE_LENGTH)
        conversation.title_origin = TitleOrigin.PERSON
        fields.append("title")
    if "model" in change:
        conversation.model = change["model"]
        fields.append("model")
    if "active_message_id" in change:
        outline = outline_of(conversation.id)
        if change["active_message_id"] not in outline:
            raise NotFound()
        conversation.active_message_id = outline.newest_leaf(change["active_message_id"])
        fields.append("active_message")
    if not fields:
        return conversation
    conversation.touch(*fields, "title_origin")
    publish(
        ConversationChanged(
            aggregate_id=conversation.id, organization_id=conversation.organization_id, fields=tuple(fields)
        ),
        actor=actor,
    )
    return conversation


def check_version(row: Conversation, expected: int | None) -> None:
    """Raise PreconditionFailed when the row is no longer at the version that the caller saw."""
    if expected is not None and row.version != expected:
        raise PreconditionFailed(
            f"{row.public_id} is at version {row.version}, If-Match named {expected}; GET it and try again.",
            headers={"ETag": row.etag},
        )


@transaction.atomic
def delete_conversation(*, actor: Actor, conversation_id: UUID, expected_version: int | None = None) -> None:
    """Put a conversation away; it can be restored. Answers that still run in it are stopped."""
    conversation = lock_conversation(actor=actor, conversation_id=conversation_id)
    check_version(conversation, expected_version)
    conversation.deleted_at = Now()
    conversation.touch("deleted_at")
    Run.objects.filter(conversation=conversation, status__in=ACTIVE, cancel_requested_at__isnull=True).update(
        cancel_requested_at=Now()
    )
    publish(
        ConversationDeleted(aggregate_id=conversation.id, organization_id=conversation.organization_id), actor=actor
    )


@transaction.atomic
def restore_conversation(*, actor: Actor, conversation_id: UUID, is_anybodys: bool = False) -> Conversation:
    """Take a conversation back from the deleted; one that is not deleted stays as it is. Raise NotFound.

    `is_anybodys` is for staff, whose permission the entrance has checked: it need not be their own.
    """
    reader = system_actor() if is_anybodys else actor
    conversation = Conversation.objects.visible_to(reader).locked().filter(id=conversation_id).first()
    if conversation is None:
        raise NotFound()
    if conversation.deleted_at is None:
        return conversation
    conversation.deleted_at = None
    conversation.touch("deleted_at")
    publish(
        ConversationRestored(aggregate_id=conversation.id, organization_id=conversation.organization_id), actor=actor
    )
    return conversation


@transaction.atomic
def reveal_conversation(*, actor: Actor, conversation_id: UUID, reason: str) -> Conversation:
    """Record that somebody of the staff reads a conversation and why; return it. Raise NotFound, TextInvalid."""
    conversation = Conversation.objects.filter(id=conversation_id).first()
    if conversation is None:
        raise NotFound()
    publish(
        ConversationRevealed(
            aggregate_id=conversation.id,
            organization_id=conversation.organization_id,
            reason=check_text(reason, field="reason", limit=500),
            message_count=conversation.message_count,
        ),
        actor=actor,
    )
    return conversation
