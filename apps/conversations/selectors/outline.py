"""The shape of a conversation's tree, without its texts: one light query answers every question about branches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID

from apps.conversations.models import Message


class Outline:
    """Ids of the undeleted messages and who follows whom, in order of birth."""

    def __init__(self, links: list[tuple[UUID, UUID | None]]) -> None:
        self.parents: dict[UUID, UUID | None] = dict(links)
        self._children: dict[UUID | None, list[UUID]] = defaultdict(list)
        for message_id, parent_id in links:
            self._children[parent_id].append(message_id)

    def __contains__(self, message_id: UUID) -> bool:
        return message_id in self.parents

    def children(self, message_id: UUID | None) -> list[UUID]:
        """Return what follows directly, oldest first; the roots for None."""
        return self._children.get(message_id, [])

    def siblings(self, message_id: UUID) -> list[UUID]:
        """Return the messages with the same parent, oldest first, itself included."""
        return self.children(self.parents[message_id])

    def branch(self, message_id: UUID | None) -> list[UUID]:
        """Return the way from the root to a message, both included; nothing for None or what is not there."""
        found: list[UUID] = []
        while message_id is not None and message_id in self.parents:
            found.append(message_id)
            message_id = self.parents[message_id]
        return found[::-1]

    def newest_leaf(self, message_id: UUID | None) -> UUID | None:
        """Return the end of the branch that goes on with the newest child each time; from the roots for None."""
        while children := self.children(message_id):
            message_id = children[-1]
        return message_id

    def subtree(self, message_id: UUID) -> list[UUID]:
        """Return a message and everything that follows from it."""
        return list(self._walk(message_id))

    def _walk(self, message_id: UUID) -> Iterator[UUID]:
        waiting = [message_id]
        while waiting:
            current = waiting.pop()
            yield current
            waiting.extend(self.children(current))


def outline_of(conversation_id: UUID) -> Outline:
    """Return the outline of a conversation; one query."""
    links = Message.objects.alive().filter(conversation_id=conversation_id).order_by("number")
    return Outline(list(links.values_list("id", "parent_id")))
