"""Messages and branches as their owner may see them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.conversations.choices import MessageRole
from apps.conversations.models import Conversation, Message
from apps.conversations.selectors.outline import Outline
from apps.core.actor import Actor
from apps.core.errors import NotFound


def find_conversation(*, actor: Actor, conversation_id: UUID) -> Conversation:
    """Return the actor's own, undeleted conversation. Raise NotFound."""
    found = Conversation.objects.visible_to(actor).alive().filter(id=conversation_id).first()
    if found is None:
        raise NotFound()
    return found


def find_message(*, actor: Actor, conversation_id: UUID, message_id: UUID) -> Message:
    """Return an undeleted message of the actor's own conversation, with its run. Raise NotFound."""
    found = (
        Message.objects.visible_to(actor)
        .alive()
        .select_related("run", "conversation")
        .filter(conversation_id=conversation_id, id=message_id)
        .first()
    )
    if found is None:
        raise NotFound()
    return found


def read_branch(outline: Outline, message_id: UUID | None) -> list[Message]:
    """Return the messages from the root to the named one, oldest first, with their runs."""
    way = outline.branch(message_id)
    rows = {row.id: row for row in Message.objects.filter(id__in=way).select_related("run")}
    return [rows[each] for each in way if each in rows]


def build_prompt(outline: Outline, message_id: UUID) -> list[dict[str, Any]]:
    """Return the branch that ends with a message as a chat-completions `messages` list; empty answers are left out."""
    way = outline.branch(message_id)
    rows = {row[0]: row for row in Message.objects.filter(id__in=way).values_list("id", "role", "content")}
    turns = [rows[each] for each in way if each in rows]
    return [
        {"role": role, "content": content}
        for _, role, content in turns
        if content or role != MessageRole.ASSISTANT.value
    ]
