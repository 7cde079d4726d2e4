"""Facts of the conversations house. Ids and numbers only: what people wrote stays where it can be erased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from apps.events.events import DomainEvent

_ID = "01936d3e-7c1a-7000-8000-000000000001"
_AUDIT_ONLY = "The audit trail keeps it; nothing else has to react."


@dataclass(frozen=True, kw_only=True)
class ConversationCreated(DomainEvent):
    type: ClassVar[str] = "conversation.created"
    aggregate_type: ClassVar[str] = "conversation"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {"user_id": _ID}
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class ConversationChanged(DomainEvent):
    """Title, model or active branch were changed by a person; `fields` names which."""

    type: ClassVar[str] = "conversation.changed"
    aggregate_type: ClassVar[str] = "conversation"
    example: ClassVar[dict[str, Any]] = {"fields": ["title"]}
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ConversationTitled(DomainEvent):
    """A model named the conversation after its first answer."""

    type: ClassVar[str] = "conversation.titled"
    aggregate_type: ClassVar[str] = "conversation"
    example: ClassVar[dict[str, Any]] = {"model": "sandbox-small", "cost_micros": 12}
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    model: str
    cost_micros: int


@dataclass(frozen=True, kw_only=True)
class ConversationSummarized(DomainEvent):
    """A summary was stored; `message_id` is the last message it tells of, `model` empty where none answered."""

    type: ClassVar[str] = "conversation.summarized"
    aggregate_type: ClassVar[str] = "conversation"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {
        "message_id": _ID,
        "message_count": 12,
        "method": "model",
        "model": "sandbox-small",
        "cost_micros": 420,
        "characters": 640,
    }
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    message_id: UUID
    message_count: int
    method: str
    model: str
    cost_micros: int
    characters: int


@dataclass(frozen=True, kw_only=True)
class ConversationDeleted(DomainEvent):
    type: ClassVar[str] = "conversation.deleted"
    aggregate_type: ClassVar[str] = "conversation"
    is_public: ClassVar[bool] = True
    unheard_because: ClassVar[str] = _AUDIT_ONLY


@dataclass(frozen=True, kw_only=True)
class ConversationRestored(DomainEvent):
    type: ClassVar[str] = "conversation.restored"
    aggregate_type: ClassVar[str] = "conversation"
    is_public: ClassVar[bool] = True
    unheard_because: ClassVar[str] = _AUDIT_ONLY


@dataclass(frozen=True, kw_only=True)
class ConversationRevealed(DomainEvent):
    """Somebody of the staff read a conversation that is not theirs, for the reason they gave."""

    type: ClassVar[str] = "conversation.revealed"
    aggregate_type: ClassVar[str] = "conversation"
    example: ClassVar[dict[str, Any]] = {"reason": "Abuse report 4711", "message_count": 12}
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    reason: str
    message_count: int


@dataclass(frozen=True, kw_only=True)
class MessageSent(DomainEvent):
    type: ClassVar[str] = "message.sent"
    aggregate_type: ClassVar[str] = "conversation"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {"message_id": _ID, "role": "user", "characters": 42}
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    message_id: UUID
    role: str
    characters: int


@dataclass(frozen=True, kw_only=True)
class MessageEdited(DomainEvent):
    type: ClassVar[str] = "message.edited"
    aggregate_type: ClassVar[str] = "conversation"
    example: ClassVar[dict[str, Any]] = {"message_id": _ID, "version": 2}
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    message_id: UUID
    version: int


@dataclass(frozen=True, kw_only=True)
class MessageDeleted(DomainEvent):
    """A message and what followed from it were deleted; `count` says how many in all."""

    type: ClassVar[str] = "message.deleted"
    aggregate_type: ClassVar[str] = "conversation"
    example: ClassVar[dict[str, Any]] = {"message_id": _ID, "count": 3}
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    message_id: UUID
    count: int


@dataclass(frozen=True, kw_only=True)
class AnswerStarted(DomainEvent):
    type: ClassVar[str] = "answer.started"
    aggregate_type: ClassVar[str] = "conversation"
    example: ClassVar[dict[str, Any]] = {"run_id": _ID, "message_id": _ID, "model": "sandbox-small"}
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    run_id: UUID
    message_id: UUID
    model: str


@dataclass(frozen=True, kw_only=True)
class AnswerCompleted(DomainEvent):
    """An answer reached its end; tokens and cost as the gateway metered them (micro-units of the currency)."""

    type: ClassVar[str] = "answer.completed"
    aggregate_type: ClassVar[str] = "conversation"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {
        "run_id": _ID,
        "message_id": _ID,
        "model": "sandbox-small",
        "request_id": _ID,
        "prompt_tokens": 12,
        "completion_tokens": 30,
        "cost_micros": 0,
    }
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    run_id: UUID
    message_id: UUID
    model: str
    request_id: UUID
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_micros: int | None


@dataclass(frozen=True, kw_only=True)
class AnswerCancelled(DomainEvent):
    """Somebody stopped the answer; what had come was kept."""

    type: ClassVar[str] = "answer.cancelled"
    aggregate_type: ClassVar[str] = "conversation"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {"run_id": _ID, "message_id": _ID, "characters": 120}
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    run_id: UUID
    message_id: UUID
    characters: int


@dataclass(frozen=True, kw_only=True)
class AnswerFailed(DomainEvent):
    """The gateway or the provider refused or broke the answer; `error_code` says why."""

    type: ClassVar[str] = "answer.failed"
    aggregate_type: ClassVar[str] = "conversation"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {
        "run_id": _ID,
        "message_id": _ID,
        "error_code": "gateway.upstream_rate_limited",
        "characters": 0,
    }
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    run_id: UUID
    message_id: UUID
    error_code: str
    characters: int


@dataclass(frozen=True, kw_only=True)
class AnswerInterrupted(DomainEvent):
    """The process that wrote the answer died or was stopped; what had come was kept."""

    type: ClassVar[str] = "answer.interrupted"
    aggregate_type: ClassVar[str] = "conversation"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {"run_id": _ID, "message_id": _ID, "characters": 120}
    unheard_because: ClassVar[str] = _AUDIT_ONLY

    run_id: UUID
    message_id: UUID
    characters: int
