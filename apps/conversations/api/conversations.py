"""/api/v3/conversations: list, create, get, change, delete, restore."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.conversations.api import examples
from apps.conversations.api.filters import ConversationFilter
from apps.conversations.api.serializers import ConversationChangeInput, ConversationInput, ConversationOutput
from apps.conversations.forms import id_in_body, id_in_path
from apps.conversations.models import Conversation, Message
from apps.conversations.selectors.messages import find_conversation
from apps.conversations.selectors.presenting import describe_conversation
from apps.conversations.services.conversations import (
    ConversationChange,
    change_conversation,
    create_conversation,
    delete_conversation,
    restore_conversation,
)
from apps.core.api.etag import expected_version
from apps.core.api.pagination import CursorPagination
from apps.core.api.views import ListView, View
from apps.events.api.idempotency import idempotent

READ, WRITE = "conversations:read", "conversations:write"
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="ETag that was read; another version answers 412."
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, description="One effect per key for 24 hours."
)


class ConversationPagination(CursorPagination):
    """Latest message first."""

    ordering: Any = ("-last_message_at", "-id")


def answer_conversation(conversation: Conversation, status: int = 200) -> Response:
    """Return a conversation with its ETag."""
    return Response(describe_conversation(conversation), status=status, headers={"ETag": conversation.etag})


class ConversationListView(ListView):
    """The caller's conversations."""

    scopes: ClassVar[dict[str, str]] = {"GET": READ, "POST": WRITE}
    serializer_class = ConversationOutput
    filterset_class = ConversationFilter
    pagination_class = ConversationPagination

    def get_queryset(self) -> Any:
        return Conversation.objects.visible_to(self.actor).alive()

    @extend_schema(
        summary="List your conversations",
        operation_id="conversations_list",
        responses=ConversationOutput(many=True),
        examples=[examples.answered(examples.CONVERSATION)],
    )
    def get(self, request: Request) -> Response:
        rows = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response([describe_conversation(row) for row in rows])

    @extend_schema(
        summary="Create a conversation",
        operation_id="conversations_create",
        request=ConversationInput,
        responses={201: ConversationOutput},
        parameters=[IDEMPOTENCY_KEY],
        examples=[
            examples.sent({"title": "Ideas for the spring", "model": "sandbox-small"}),
            examples.answered(
                {
                    **examples.CONVERSATION,
                    "title": "Ideas for the spring",
                    "active_message_id": None,
                    "message_count": 0,
                },
                201,
            ),
        ],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        body = ConversationInput(data=request.data)
        body.is_valid(raise_exception=True)
        return answer_conversation(create_conversation(actor=self.actor, **body.validated_data), 201)


class ConversationView(View):
    """One conversation of the caller's."""

    scopes: ClassVar[dict[str, str]] = {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}

    @extend_schema(
        summary="Get a conversation",
        operation_id="conversations_get",
        responses=ConversationOutput,
        examples=[examples.answered(examples.CONVERSATION)],
    )
    def get(self, request: Request, cid: str) -> Response:
        return answer_conversation(find_conversation(actor=self.actor, conversation_id=id_in_path(Conversation, cid)))

    @extend_schema(
        summary="Rename a conversation, change its model or show another branch",
        operation_id="conversations_change",
        request=ConversationChangeInput,
        responses=ConversationOutput,
        parameters=[IF_MATCH],
        examples=[examples.sent({"title": "Cats of the coast"}), examples.answered(examples.CONVERSATION)],
    )
    def patch(self, request: Request, cid: str) -> Response:
        body = ConversationChangeInput(data=request.data)
        body.is_valid(raise_exception=True)
        change = ConversationChange(**body.validated_data)
        if (message_id := id_in_body(Message, body.validated_data, "active_message_id")) is not None:
            change["active_message_id"] = message_id
        return answer_conversation(
            change_conversation(
                actor=self.actor,
                conversation_id=id_in_path(Conversation, cid),
                change=change,
                expected_version=expected_version(request),
            )
        )

    @extend_schema(
        summary="Delete a conversation",
        description="It can be restored; answers that still run in it are stopped.",
        operation_id="conversations_delete",
        responses={204: None},
        parameters=[IF_MATCH],
        examples=[examples.answered(None, 204)],
    )
    def delete(self, request: Request, cid: str) -> Response:
        delete_conversation(
            actor=self.actor,
            conversation_id=id_in_path(Conversation, cid),
            expected_version=expected_version(request),
        )
        return Response(status=204)


class ConversationRestoreView(View):
    """Undo of a deletion."""

    scopes: ClassVar[dict[str, str]] = {"POST": WRITE}

    @extend_schema(
        summary="Restore a deleted conversation",
        operation_id="conversations_restore",
        request=None,
        responses=ConversationOutput,
        parameters=[IDEMPOTENCY_KEY],
        examples=[examples.answered(examples.CONVERSATION)],
    )
    @idempotent
    def post(self, request: Request, cid: str) -> Response:
        return answer_conversation(
            restore_conversation(actor=self.actor, conversation_id=id_in_path(Conversation, cid))
        )
