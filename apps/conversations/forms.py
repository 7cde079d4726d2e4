"""From the words of a request to the words of the house: ids in paths, bodies and frames; the form of a reveal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django import forms

from apps.conversations.models import MODEL_LENGTH, Conversation, Message, Run
from apps.conversations.services.messages import Parent, Place
from apps.conversations.services.runs import Chat
from apps.core.errors import InvalidInput, NotFound

LEGIBLE_CHARACTERS = 8

Kind = type[Conversation] | type[Message] | type[Run]


def id_in_path(kind: Kind, text: str) -> UUID:
    """Return the id that a path names. What is malformed is not there: NotFound, like what is not the caller's."""
    try:
        return kind.parse_id(text)
    except InvalidInput:
        raise NotFound() from None


def id_in_body(kind: Kind, body: Mapping[str, Any], field: str) -> UUID | None:
    """Return the id that a field names, None for null or absent. Raise InvalidInput with the field's name."""
    text = text_in_body(body, field)
    if text is None:
        return None
    try:
        return kind.parse_id(text)
    except InvalidInput as error:
        raise InvalidInput(f"{field}: {error.message}", errors={field: [error.message]}) from None


def text_in_body(body: Mapping[str, Any], field: str) -> str | None:
    """Return a field's text, None for null or absent. Raise InvalidInput with the field's name."""
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"{field}: a string is expected.", errors={field: ["A string is expected."]})
    return value


def parent_in_body(body: Mapping[str, Any]) -> Parent:
    """Return where a message goes: after `parent_id`; anew for null; to the active branch when it is absent."""
    return id_in_body(Message, body, "parent_id") if "parent_id" in body else Place.ACTIVE


def chat_in_body(body: Mapping[str, Any]) -> Chat:
    """Return what somebody sends to have it answered. Raise InvalidInput with the field's name."""
    model = text_in_body(body, "model") or ""
    if len(model) > MODEL_LENGTH or "\x00" in model:
        raise InvalidInput("model: not the name of a model.", errors={"model": ["Not the name of a model."]})
    return Chat(
        content=text_in_body(body, "content") or "",
        conversation_id=id_in_body(Conversation, body, "conversation_id"),
        parent=parent_in_body(body),
        model=model,
    )


class RevealForm(forms.Form):
    """Why somebody of the staff reads a conversation; the reason is kept in the audit trail."""

    reason = forms.CharField(
        min_length=10,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Say who asked and what for, with the ticket's number. The audit trail keeps it for good.",
    )

    def clean_reason(self) -> str:
        """Return the reason. Raise ValidationError for one that nobody can read: invisible characters count for nothing."""
        reason: str = self.cleaned_data["reason"]
        if sum(character.isalnum() for character in reason) < LEGIBLE_CHARACTERS:
            raise forms.ValidationError("Write a reason in words.")
        return reason
