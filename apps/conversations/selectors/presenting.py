"""Conversations and messages as every entrance shows them: plain data with public ids.

One form for REST, server-sent events and WebSockets, so that none of them can differ from the others.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.conversations.choices import MessageStatus
from apps.conversations.models import Conversation, Message, Run
from apps.conversations.selectors.outline import Outline, outline_of
from apps.conversations.selectors.summaries import Material
from apps.core.ids import encode_id


def message_id_text(value: UUID | None) -> str | None:
    """Return a message's public id, None for none."""
    return None if value is None else encode_id(Message.ID_PREFIX, value)


def describe_conversation(conversation: Conversation) -> dict[str, Any]:
    """Return a conversation's metadata."""
    return {
        "id": conversation.public_id,
        "title": conversation.title,
        "model": conversation.model,
        "active_message_id": message_id_text(conversation.active_message_id),
        "message_count": conversation.message_count,
        "last_message_at": conversation.last_message_at,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "version": conversation.version,
    }


def describe_summary(material: Material) -> dict[str, Any] | None:
    """Return the stored summary of some material; None where there is none."""
    stored = material.stored
    if stored is None:
        return None
    return {
        "conversation_id": encode_id(Conversation.ID_PREFIX, stored.conversation_id),
        "text": stored.text,
        "method": stored.method,
        "model": stored.model or None,
        "message_id": message_id_text(stored.last_message_id),
        "message_count": stored.message_count,
        "cost": stored.cost,
        "is_outdated": material.is_outdated,
        "made_at": stored.made_at,
    }


def describe_message(message: Message, *, siblings: list[UUID], run_id: UUID | None) -> dict[str, Any]:
    """Return one message; `siblings` are the messages with the same parent, in order of birth."""
    return {
        "id": message.public_id,
        "conversation_id": encode_id(Conversation.ID_PREFIX, message.conversation_id),
        "parent_id": message_id_text(message.parent_id),
        "role": message.role,
        "content": message.content,
        "model": message.model or None,
        "status": message.status,
        "error": message.error,
        "run_id": None if run_id is None else encode_id(Run.ID_PREFIX, run_id),
        "usage": message.usage,
        "siblings": [message_id_text(sibling) for sibling in siblings],
        "version": message.version,
        "created_at": message.created_at,
        "updated_at": message.updated_at,
    }


def run_id_of(message: Message) -> UUID | None:
    """Return the run that wrote the message; it costs a query unless `run` was selected along."""
    try:
        return message.run.id
    except Run.DoesNotExist:
        return None


def describe_messages(messages: list[Message], outline: Outline) -> list[dict[str, Any]]:
    """Return messages of one conversation, read with `select_related("run")`."""
    return [
        describe_message(message, siblings=outline.siblings(message.id), run_id=run_id_of(message))
        for message in messages
        if message.id in outline
    ]


def describe_one(message: Message) -> dict[str, Any]:
    """Return one message, asking for its siblings itself."""
    return describe_messages([message], outline_of(message.conversation_id))[0]


def describe_start(run: Run, *, is_replay: bool) -> dict[str, Any]:
    """Return what the first event of a run's stream says. A replay shows the answer as it was then: empty, running."""
    outline = outline_of(run.conversation_id)
    answer = describe_message(run.message, siblings=_siblings(outline, run.message), run_id=run.id)
    if is_replay:
        answer |= {"content": "", "status": MessageStatus.RUNNING.value, "error": None, "usage": None}
    sent = run.sent_message
    return {
        "run_id": run.public_id,
        "conversation": describe_conversation(run.conversation),
        "message": describe_message(sent, siblings=_siblings(outline, sent), run_id=None) if sent else None,
        "answer": answer,
    }


def describe_answer(run: Run) -> dict[str, Any]:
    """Return the answer of a run as it stands."""
    siblings = _siblings(outline_of(run.conversation_id), run.message)
    return describe_message(run.message, siblings=siblings, run_id=run.id)


def _siblings(outline: Outline, message: Message) -> list[UUID]:
    return outline.siblings(message.id) if message.id in outline else []
