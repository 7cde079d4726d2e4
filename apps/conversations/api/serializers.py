"""What goes in, checked; what comes out, documented. What comes out is made by `selectors.presenting`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.conversations.choices import MessageRole, MessageStatus
from apps.conversations.models import MODEL_LENGTH, TITLE_LENGTH
from apps.conversations.services.texts import MAX_CHARACTERS

ID_LENGTH = 64


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not know: a misspelt field is an error, not a wish ignored."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(self.initial_data) - set(self.fields)) if isinstance(self.initial_data, dict) else []
        if unknown:
            raise serializers.ValidationError({name: ["This field is not known here."] for name in unknown})
        return attrs


class IdField(serializers.CharField):
    """A public id."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=ID_LENGTH, **kwargs)


class ConversationInput(StrictSerializer):
    title = serializers.CharField(max_length=TITLE_LENGTH, required=False, help_text="Default: from the first message.")
    model = serializers.CharField(
        max_length=MODEL_LENGTH,
        required=False,
        allow_blank=True,
        help_text="Model that answers unless another is named.",
    )


class ConversationChangeInput(StrictSerializer):
    title = serializers.CharField(max_length=TITLE_LENGTH, required=False)
    model = serializers.CharField(max_length=MODEL_LENGTH, required=False)
    active_message_id = IdField(
        required=False, help_text="Message whose branch is shown; the newest branch below it is taken."
    )


class ConversationOutput(serializers.Serializer[Any]):
    id = IdField()
    title = serializers.CharField(help_text="From the first message until somebody changes it.")
    model = serializers.CharField(help_text="Model of the last answer.")
    active_message_id = IdField(allow_null=True, help_text="Last message of the branch that is shown.")
    message_count = serializers.IntegerField()
    last_message_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    version = serializers.IntegerField(help_text="Rises with every change; its ETag goes into If-Match.")


class ErrorOutput(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()


class UsageOutput(serializers.Serializer[Any]):
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cost = serializers.CharField(allow_null=True, help_text="In USD, six decimals.")


class MessageOutput(serializers.Serializer[Any]):
    id = IdField()
    conversation_id = IdField()
    parent_id = IdField(allow_null=True)
    role = serializers.ChoiceField(choices=MessageRole.choices)
    content = serializers.CharField()
    model = serializers.CharField(allow_null=True, help_text="Model that answered; null for what people wrote.")
    status = serializers.ChoiceField(choices=MessageStatus.choices)
    error = ErrorOutput(allow_null=True)
    run_id = IdField(allow_null=True, help_text="Run that wrote the answer; its stream can be resumed.")
    usage = UsageOutput(allow_null=True)
    siblings = serializers.ListField(
        child=IdField(), help_text="Messages with the same parent, in order of birth, this one included."
    )
    version = serializers.IntegerField(help_text="Rises with every edit.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class MessageInput(StrictSerializer):
    content = serializers.CharField(max_length=MAX_CHARACTERS, trim_whitespace=False)
    role = serializers.ChoiceField(choices=[MessageRole.USER, MessageRole.SYSTEM], required=False)
    parent_id = IdField(
        required=False,
        allow_null=True,
        help_text="Message to follow; absent: the active branch; null: a new beginning.",
    )


class MessageEditInput(StrictSerializer):
    content = serializers.CharField(max_length=MAX_CHARACTERS, trim_whitespace=False)


class RegenerateInput(StrictSerializer):
    model = serializers.CharField(max_length=MODEL_LENGTH, required=False, help_text="Default: the conversation's.")


class RegenerateOutput(serializers.Serializer[Any]):
    run_id = IdField()
    conversation = ConversationOutput()
    message = MessageOutput(help_text="The new answer, empty and running.")


class ChatInput(StrictSerializer):
    content = serializers.CharField(max_length=MAX_CHARACTERS, trim_whitespace=False)
    conversation_id = IdField(required=False, allow_null=True, help_text="Absent or null: a new conversation.")
    parent_id = IdField(
        required=False,
        allow_null=True,
        help_text="Message to follow; absent: the active branch; null: a new beginning.",
    )
    model = serializers.CharField(
        max_length=MODEL_LENGTH, required=False, allow_null=True, help_text="Default: the conversation's."
    )


class ChatOutput(serializers.Serializer[Any]):
    conversation = ConversationOutput()
    message = MessageOutput(allow_null=True, help_text="What was sent.")
    answer = MessageOutput()


class CancelOutput(serializers.Serializer[Any]):
    message = MessageOutput(help_text="The answer with what had come.")
