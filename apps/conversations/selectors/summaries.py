"""What of a conversation a summary tells of, and whether there is more by now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.conversations.choices import MessageRole, MessageStatus
from apps.conversations.models import Conversation, ConversationSummary, Message
from apps.conversations.selectors.messages import find_conversation
from apps.conversations.selectors.outline import outline_of
from apps.core.actor import Actor


@dataclass(frozen=True, slots=True)
class Material:
    """The finished messages of the branch that is shown, and their digest; `stored` is the summary so far."""

    conversation_id: UUID
    message_ids: tuple[UUID, ...]
    digest: str
    messages: list[dict[str, Any]]
    stored: ConversationSummary | None

    @property
    def is_outdated(self) -> bool:
        """Tell whether the stored summary is not, or no longer, one of these messages."""
        return self.stored is None or self.stored.digest != self.digest


def read_material(conversation: Conversation, *, with_texts: bool) -> Material:
    """Return what a summary of the conversation would tell of; `messages` stay empty without texts."""
    way = outline_of(conversation.id).branch(conversation.active_message_id)
    finished = (
        Message.objects.filter(id__in=way, role__in=(MessageRole.USER, MessageRole.ASSISTANT))
        .exclude(status=MessageStatus.RUNNING)
        .exclude(content="")
    )
    versions = dict(finished.values_list("id", "version"))
    ids = tuple(each for each in way if each in versions)
    texts = {row[0]: row[1:] for row in finished.values_list("id", "role", "content")} if with_texts else {}
    return Material(
        conversation_id=conversation.id,
        message_ids=ids,
        digest=_digest((each, versions[each]) for each in ids),
        messages=[dict(zip(("role", "content"), texts[each], strict=True)) for each in ids if each in texts],
        stored=ConversationSummary.objects.filter(conversation=conversation).first(),
    )


def find_material(*, actor: Actor, conversation_id: UUID, with_texts: bool = False) -> Material:
    """Return the material of the actor's own, undeleted conversation. Raise NotFound."""
    return read_material(find_conversation(actor=actor, conversation_id=conversation_id), with_texts=with_texts)


def _digest(versions: Iterable[tuple[UUID, int]]) -> str:
    return hashlib.sha256(b"".join(b"%b%d;" % (each.bytes, version) for each, version in versions)).hexdigest()
