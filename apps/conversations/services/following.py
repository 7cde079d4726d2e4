"""Follow a run: its numbered events from any place on, in any process, live or long over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings

from apps.conversations.choices import TitleOrigin
from apps.conversations.errors import AccessWithdrawn, ResumeExpired
from apps.conversations.models import Conversation, Run
from apps.conversations.runtime.database import UNREACHABLE, in_database
from apps.conversations.runtime.desk import Desk, LocalRun, current_desk
from apps.conversations.selectors.presenting import describe_answer, describe_conversation, describe_start
from apps.conversations.selectors.runs import PAGE, read_standing
from apps.conversations.services.answering import describe_end
from apps.conversations.services.keeping import ensure_kept
from apps.conversations.services.titling import BY_MODEL
from apps.users.selectors.credentials import Credential

POLL_SECONDS = 1.0
# How long a title that is being made is waited for, in turns of a second and in all.
TITLE_TURNS = 60
START = 1
COMPLETED = "run.completed"
# Of whoever wants only the end.
ONLY_THE_END = 2**31 - 1


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event of a run's stream. What has no number says something beside the answer and is not repeated."""

    seq: int | None
    name: str
    data: dict[str, Any]

    @property
    def is_end(self) -> bool:
        """Tell whether nothing comes after it."""
        return self.name.startswith("run.") and self.name != "run.started"


class RunFollower:
    """Reads a run's events in order. Pulled by its reader, so a slow client holds up nobody and fills no memory.

    Use as an async context manager. With a credential, reading ends with AccessWithdrawn within two seconds of its end.
    """

    def __init__(self, run: Run, *, after: int = 0, credential: Credential | None = None) -> None:
        self.run = run
        self.after = after
        self._credential = credential
        self._desk: Desk = current_desk()
        self._local: LocalRun | None = self._desk.runs.get(run.id)
        self._version = run.conversation.version if after == 0 else None
        self._event = asyncio.Event()
        self._is_withdrawn = False

    async def __aenter__(self) -> RunFollower:
        self._desk.wait_for(self.run.id, self._event)
        if self._credential is not None:
            self._desk.watch(self._credential, self._withdraw)
        try:
            await ensure_kept(self._desk)
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop following."""
        self._desk.stop_waiting(self.run.id, self._event)
        if self._credential is not None:
            self._desk.unwatch(self._credential, self._withdraw)

    def _withdraw(self) -> None:
        self._is_withdrawn = True
        self._event.set()

    async def read(self, *, timeout_seconds: float) -> list[RunEvent]:
        """Return the next events, at least one; none when the time is over.

        Raise AccessWithdrawn, and ResumeExpired when the place was left longer ago than pieces are kept.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        while True:
            self._event.clear()
            if self._is_withdrawn:
                raise AccessWithdrawn("Log in again or use another key.")
            if events := await self._read_now():
                self.after = max(self.after, *(event.seq or 0 for event in events))
                return events
            left = deadline - clock()
            if left <= 0:
                return []
            try:
                await asyncio.wait_for(self._event.wait(), left if self._is_here else min(left, POLL_SECONDS))
            except TimeoutError:
                continue

    async def read_title(self) -> AsyncIterator[list[RunEvent]]:
        """Yield the change that names the conversation, after the end of a completed run, and nothing each second before.

        Over at once where nobody is naming it, and after a minute in any case.
        """
        if settings.CHAT_TITLES != BY_MODEL:
            return
        for _ in range(TITLE_TURNS):
            self._event.clear()
            is_being_made = self.run.id in self._desk.titles
            conversation = await self._read_conversation()
            if conversation is None or self._is_withdrawn:
                return
            if conversation.title_origin == TitleOrigin.MODEL:
                yield self._tell_change(conversation)
                return
            # Another process does not say whether it is still at it.
            may_be_made = self._local is None and conversation.title_origin in (TitleOrigin.WORDS, TitleOrigin.ASKED)
            if not (is_being_made or may_be_made):
                return
            yield []
            with suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), POLL_SECONDS)

    @property
    def _is_here(self) -> bool:
        return self._local is not None and not self._local.is_lost

    async def _read_now(self) -> list[RunEvent]:
        if self._is_here and self._local is not None:
            events = self._read_local(self._local)
        else:
            try:
                events = await in_database(stored_events, run_id=self.run.id, after=self.after)
            except UNREACHABLE:
                return []
        if events and events[-1].is_end:
            events[-1:-1] = await self._note_change()
        return events

    def _read_local(self, run: LocalRun) -> list[RunEvent]:
        events = [RunEvent(START, "run.started", run.opening)] if self.after < START else []
        first = max(self.after, START) - START
        deltas = run.deltas[first : first + PAGE]
        events += [RunEvent(seq, "delta", {"text": text}) for seq, text in deltas]
        if run.end is not None and first + len(deltas) >= len(run.deltas):
            seq, name, content = run.end
            events.append(RunEvent(seq, name, content))
        return events

    async def _note_change(self) -> list[RunEvent]:
        """Return the conversation when it was changed beside the answer, so that its reader's ETag is fresh."""
        conversation = await self._read_conversation()
        return [] if conversation is None else self._tell_change(conversation)

    async def _read_conversation(self) -> Conversation | None:
        try:
            found: Conversation = await in_database(Conversation.objects.get, id=self.run.conversation_id)
        except (*UNREACHABLE, Conversation.DoesNotExist):
            return None
        return found

    def _tell_change(self, conversation: Conversation) -> list[RunEvent]:
        if conversation.version == self._version:
            return []
        self._version = conversation.version
        return [RunEvent(None, "conversation.updated", {"conversation": describe_conversation(conversation)})]


def stored_events(*, run_id: UUID, after: int) -> list[RunEvent]:
    """Return what follows in a run's stream as the database has it. Raise ResumeExpired, NotFound."""
    standing = read_standing(run_id=run_id, after=max(after, START))
    run = standing.run
    events = [RunEvent(START, "run.started", describe_start(run, is_replay=True))] if after < START else []
    deltas = standing.deltas
    due = max(after, START) + 1
    are_gone = (deltas[0][0] != due) if deltas else (not run.is_active and run.last_seq > due)
    if are_gone:
        if after > START:
            raise ResumeExpired("The pieces of this answer are no longer kept; read the message instead.")
        deltas = [(run.last_seq - 1, run.message.content)]
    events += [RunEvent(seq, "delta", {"text": text}) for seq, text in deltas if text]
    if standing.has_ended_here or are_gone:
        name, content = describe_end(run.status, describe_answer(run))
        events.append(RunEvent(run.last_seq, name, content))
    return events
