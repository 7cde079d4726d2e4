"""/api/v3/conversations/{id}/messages: the tree and its branches, without answering."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.conversations.api import examples
from apps.conversations.api.conversations import IDEMPOTENCY_KEY, IF_MATCH, READ, WRITE
from apps.conversations.api.serializers import MessageEditInput, MessageInput, MessageOutput
from apps.conversations.choices import MessageRole
from apps.conversations.forms import id_in_path, parent_in_body
from apps.conversations.models import Conversation, Message
from apps.conversations.selectors.messages import find_conversation, find_message, read_branch
from apps.conversations.selectors.outline import outline_of
from apps.conversations.selectors.presenting import describe_messages, describe_one
from apps.conversations.services.messages import delete_message, edit_message, send_message
from apps.core.api.etag import expected_version
from apps.core.api.pagination import CursorPagination
from apps.core.api.views import ListView, View
from apps.core.errors import InvalidInput
from apps.events.api.idempotency import idempotent


class MessagePagination(CursorPagination):
    """In order of birth."""

    ordering: Any = "number"


class MessageListView(ListView):
    """The messages of one conversation."""

    scopes: ClassVar[dict[str, str]] = {"GET": READ, "POST": WRITE}
    serializer_class = MessageOutput
    pagination_class = MessagePagination
    filter_backends = ()
    queryset = Message.objects.none()

    @extend_schema(
        summary="List the messages of a conversation",
        description="`branch=active`: the whole branch that is shown, oldest first. `branch=all`: every message, in pages.",
        operation_id="messages_list",
        responses=MessageOutput(many=True),
        parameters=[OpenApiParameter("branch", str, enum=["active", "all"], default="active")],
        examples=[examples.answered(examples.ANSWER)],
    )
    def get(self, request: Request, cid: str) -> Response:
        conversation = find_conversation(actor=self.actor, conversation_id=id_in_path(Conversation, cid))
        branch = request.query_params.get("branch", "active")
        if branch not in {"active", "all"}:
            raise InvalidInput("branch: `active` or `all`.", errors={"branch": ["`active` or `all`."]})
        outline = outline_of(conversation.id)
        if branch == "active":
            found = describe_messages(read_branch(outline, conversation.active_message_id), outline)
            return Response({"items": found, "next": None, "previous": None})
        queryset = Message.objects.visible_to(self.actor).alive().filter(conversation=conversation)
        rows = self.paginate_queryset(queryset.select_related("run")) or []
        return self.get_paginated_response(describe_messages(list(rows), outline))

    @extend_schema(
        summary="Send a message without asking for an answer",
        operation_id="messages_send",
        request=MessageInput,
        responses={201: MessageOutput},
        parameters=[IDEMPOTENCY_KEY],
        examples=[examples.sent({"content": examples.QUESTION["content"]}), examples.answered(examples.QUESTION, 201)],
    )
    @idempotent
    def post(self, request: Request, cid: str) -> Response:
        body = MessageInput(data=request.data)
        body.is_valid(raise_exception=True)
        message = send_message(
            actor=self.actor,
            conversation_id=id_in_path(Conversation, cid),
            content=body.validated_data["content"],
            role=body.validated_data.get("role", MessageRole.USER),
            parent=parent_in_body(body.validated_data),
        )
        return Response(describe_one(message), status=201, headers={"ETag": message.etag})


class MessageView(View):
    """One message."""

    scopes: ClassVar[dict[str, str]] = {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}

    @extend_schema(
        summary="Get a message",
        operation_id="messages_get",
        responses=MessageOutput,
        examples=[examples.answered(examples.ANSWER)],
    )
    def get(self, request: Request, cid: str, mid: str) -> Response:
        message = find_message(
            actor=self.actor, conversation_id=id_in_path(Conversation, cid), message_id=id_in_path(Message, mid)
        )
        return Response(describe_one(message), headers={"ETag": message.etag})

    @extend_schema(
        summary="Edit a message; what it said before is kept",
        operation_id="messages_edit",
        request=MessageEditInput,
        responses=MessageOutput,
        parameters=[IF_MATCH],
        examples=[examples.sent({"content": "Names for a cat at sea"}), examples.answered(examples.QUESTION)],
    )
    def patch(self, request: Request, cid: str, mid: str) -> Response:
        body = MessageEditInput(data=request.data)
        body.is_valid(raise_exception=True)
        message = edit_message(
            actor=self.actor,
            conversation_id=id_in_path(Conversation, cid),
            message_id=id_in_path(Message, mid),
            content=body.validated_data["content"],
            expected_version=expected_version(request),
        )
        return Response(describe_one(message), headers={"ETag": message.etag})

    @extend_schema(
        summary="Delete a message and everything that follows from it",
        operation_id="messages_delete",
        responses={204: None},
        examples=[examples.answered(None, 204)],
    )
    def delete(self, request: Request, cid: str, mid: str) -> Response:
        delete_message(
            actor=self.actor, conversation_id=id_in_path(Conversation, cid), message_id=id_in_path(Message, mid)
        )
        return Response(status=204)
