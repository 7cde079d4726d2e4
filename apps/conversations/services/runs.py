"""Start, cancel and end runs. Each is one transaction; what talks to the gateway lies in `answering`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.conversations.choices import MessageRole, MessageStatus, RunStatus
from apps.conversations.errors import ModelMissing, NotAnswerable
from apps.conversations.events import (
    AnswerCancelled,
    AnswerCompleted,
    AnswerFailed,
    AnswerInterrupted,
    AnswerStarted,
)
from apps.conversations.models import Conversation, Message, Run
from apps.conversations.selectors.messages import build_prompt
from apps.conversations.selectors.outline import outline_of
from apps.conversations.selectors.presenting import describe_answer, describe_start
from apps.conversations.selectors.runs import find_run
from apps.conversations.services.conversations import create_conversation, lock_conversation
from apps.conversations.services.messages import (
    GROWN,
    Parent,
    Place,
    add_sent_message,
    append_message,
    resolve_parent,
)
from apps.core.actor import Actor
from apps.core.errors import AppError, NotFound
from apps.core.ids import uuid7
from apps.events.errors import IdempotencyKeyInvalid, IdempotencyKeyReused
from apps.events.events import DomainEvent
from apps.events.services import publish
from apps.events.services.idempotency import KEY_FORM, caller_of

# Providers may say anything; nobody is told to wait longer than this for another attempt.
LONGEST_WAIT_SECONDS = 3600.0
ENDING_OF = {
    RunStatus.COMPLETE: MessageStatus.COMPLETE,
    RunStatus.CANCELLED: MessageStatus.CANCELLED,
    RunStatus.INTERRUPTED: MessageStatus.INTERRUPTED,
    RunStatus.FAILED: MessageStatus.FAILED,
}


@dataclass(frozen=True, slots=True)
class Repeat:
    """What makes a start safe to repeat: the caller's key, and the hash of what was asked under it."""

    key: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Chat:
    """A message to send and have answered; without a conversation it begins one."""

    content: str
    conversation_id: UUID | None = None
    parent: Parent = Place.ACTIVE
    model: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """A message of a conversation to answer: anew, beside the old answer, when it is itself an answer."""

    conversation_id: UUID
    message_id: UUID
    model: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """A run, and what its answering needs. `is_new` is False when the key led to a run that was there already."""

    run: Run
    is_new: bool
    messages: list[dict[str, Any]] = field(default_factory=list)
    opening: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: its last text, the gateway's figures, and the failure if there was one."""

    status: RunStatus
    content: str
    last_seq: int
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_micros: int | None = None
    error: AppError | None = None


def repeat_of(key: str, asked: Chat | Again) -> Repeat:
    """Return the key with the hash of what is asked for; it does not matter whether it is to be streamed."""
    return Repeat(key, hashlib.sha256(repr(asked).encode("utf-8", "surrogatepass")).hexdigest()) if key else Repeat()


def start_run(*, actor: Actor, run_id: UUID, owner_id: UUID, asked: Chat | Again, repeat: Repeat) -> Started:
    """Store what was asked and the empty answer, and claim its run for the process `owner_id`.

    With a key, the same caller's second start finds the first one's run. Raise IdempotencyKeyReused when it asked
    something else, IdempotencyKeyInvalid for a malformed key, NotFound, AnswerRunning, NotAnswerable, ModelMissing,
    TextInvalid, TextTooLong, PersonNeeded.
    """
    if repeat.key and not KEY_FORM.match(repeat.key):
        raise IdempotencyKeyInvalid("Idempotency-Key: give 1 to 255 printable ASCII characters without spaces.")
    if (earlier := _find_earlier(actor=actor, repeat=repeat)) is not None:
        return earlier
    try:
        with transaction.atomic():
            return _create_run(actor=actor, run_id=run_id, owner_id=owner_id, asked=asked, repeat=repeat)
    except IntegrityError:
        # The same key at the same moment: whoever committed first is the one run.
        if (earlier := _find_earlier(actor=actor, repeat=repeat)) is not None:
            return earlier
        raise


def _find_earlier(*, actor: Actor, repeat: Repeat) -> Started | None:
    if not repeat.key:
        return None
    found = Run.objects.filter(caller=caller_of(actor), idempotency_key=repeat.key).first()
    if found is None:
        return None
    if found.fingerprint != repeat.fingerprint:
        raise IdempotencyKeyReused("Use a new Idempotency-Key for a request with another body.")
    return Started(find_run(actor=actor, run_id=found.id), is_new=False)


def _create_run(*, actor: Actor, run_id: UUID, owner_id: UUID, asked: Chat | Again, repeat: Repeat) -> Started:
    if isinstance(asked, Chat):
        conversation, sent, parent_id = _place_message(actor, asked)
    else:
        conversation, sent, parent_id = _place_again(actor, asked)
    conversation.model = asked.model or conversation.model
    if not conversation.model:
        raise ModelMissing("model: name one of GET /api/v3/models.", errors={"model": ["This field is required."]})
    answer = append_message(
        conversation=conversation,
        parent_id=parent_id,
        role=MessageRole.ASSISTANT,
        model=conversation.model,
        status=MessageStatus.RUNNING,
    )
    conversation.touch(*GROWN)
    run = Run.objects.create(
        id=run_id,
        organization_id=conversation.organization_id,
        user_id=conversation.user_id,
        conversation=conversation,
        message=answer,
        sent_message=sent,
        model=conversation.model,
        request_id=uuid7(),
        owner_id=owner_id,
        caller=caller_of(actor) if repeat.key else "",
        idempotency_key=repeat.key,
        fingerprint=repeat.fingerprint if repeat.key else "",
    )
    started = AnswerStarted(
        aggregate_id=conversation.id,
        organization_id=conversation.organization_id,
        run_id=run.id,
        message_id=answer.id,
        model=run.model,
    )
    publish(started, actor=actor)
    prompt = build_prompt(outline_of(conversation.id), parent_id)
    return Started(run, is_new=True, messages=prompt, opening=describe_start(run, is_replay=False))


def _place_message(actor: Actor, asked: Chat) -> tuple[Conversation, Message | None, UUID]:
    if asked.conversation_id is None:
        conversation = create_conversation(actor=actor, model=asked.model)
    else:
        conversation = lock_conversation(actor=actor, conversation_id=asked.conversation_id)
    sent = add_sent_message(actor=actor, conversation=conversation, parent=asked.parent, content=asked.content)
    return conversation, sent, sent.id


def _place_again(actor: Actor, asked: Again) -> tuple[Conversation, Message | None, UUID]:
    conversation = lock_conversation(actor=actor, conversation_id=asked.conversation_id)
    message = Message.objects.alive().filter(conversation=conversation, id=asked.message_id).first()
    if message is None:
        raise NotFound()
    resolve_parent(conversation=conversation, parent=message.id)
    answered_id = message.parent_id if message.role == MessageRole.ASSISTANT else message.id
    if answered_id is None:
        raise NotAnswerable("This answer follows no message, so there is nothing to answer again.")
    return conversation, None, answered_id


def mark_running(*, run_id: UUID, owner_id: UUID) -> bool:
    """Record that the gateway took the call; tell whether the run is still this process's."""
    return bool(Run.objects.held_by(owner_id).filter(id=run_id).update(status=RunStatus.RUNNING))


def request_cancel(*, actor: Actor, run_id: UUID) -> Run:
    """Ask whoever answers the run to stop; a run that is over stays as it is. Raise NotFound."""
    run = find_run(actor=actor, run_id=run_id)
    Run.objects.active().filter(id=run.id, cancel_requested_at__isnull=True).update(cancel_requested_at=Now())
    return run


@transaction.atomic
def finish_run(*, actor: Actor, run_id: UUID, owner_id: UUID, ending: Ending) -> dict[str, Any] | None:
    """End a run that this process still holds and return its described answer; None when it no longer does."""
    run = Run.objects.held_by(owner_id).locked().filter(id=run_id).first()
    return None if run is None else end_locked_run(actor=actor, run=run, ending=ending)


def end_locked_run(*, actor: Actor, run: Run, ending: Ending) -> dict[str, Any]:
    """Write the end of a locked, active run and publish it; return the described answer."""
    message = run.message
    message.content = ending.content
    message.status = ENDING_OF[ending.status]
    message.prompt_tokens = ending.prompt_tokens
    message.completion_tokens = ending.completion_tokens
    message.cost_micros = ending.cost_micros
    if ending.error is not None:
        message.error_code = ending.error.code[:96]
        message.error_message = ending.error.message.replace("\x00", "")[:1000]
        run.error_status = ending.error.status
        if ending.error.retry_after_seconds is not None:
            wait_seconds = min(ending.error.retry_after_seconds, LONGEST_WAIT_SECONDS)
            run.error_retry_at = timezone.now() + timedelta(seconds=wait_seconds)
    message.save(
        update_fields=[
            "content", "status", "prompt_tokens", "completion_tokens", "cost_micros", "error_code", "error_message",
            "updated_at",
        ]
    )  # fmt: skip
    run.status = ending.status
    run.last_seq = ending.last_seq
    run.finished_at = timezone.now()
    run.save(update_fields=["status", "last_seq", "finished_at", "error_status", "error_retry_at", "updated_at"])
    publish(_ending_event(run, ending), actor=actor)
    return describe_answer(run)


def _ending_event(run: Run, ending: Ending) -> DomainEvent:
    ids: dict[str, Any] = {
        "aggregate_id": run.conversation_id,
        "organization_id": run.organization_id,
        "run_id": run.id,
        "message_id": run.message_id,
    }
    characters = len(ending.content)
    if ending.status == RunStatus.COMPLETE:
        return AnswerCompleted(
            **ids,
            model=run.model,
            request_id=run.request_id,
            prompt_tokens=ending.prompt_tokens,
            completion_tokens=ending.completion_tokens,
            cost_micros=ending.cost_micros,
        )
    if ending.status == RunStatus.CANCELLED:
        return AnswerCancelled(**ids, characters=characters)
    if ending.status == RunStatus.INTERRUPTED:
        return AnswerInterrupted(**ids, characters=characters)
    return AnswerFailed(**ids, characters=characters, error_code=ending.error.code if ending.error else "unknown")
