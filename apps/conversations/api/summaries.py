"""/api/v3/conversations/{id}/summarize and …/summary: what a conversation says, in few words."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.conversations.api import examples
from apps.conversations.api.asynchronous import AsyncView
from apps.conversations.api.conversations import READ, WRITE
from apps.conversations.api.serializers import IdField
from apps.conversations.forms import id_in_path
from apps.conversations.models import Conversation
from apps.conversations.selectors.presenting import describe_summary
from apps.conversations.selectors.summaries import find_material
from apps.conversations.services.summarizing import summarize_conversation
from apps.core.api.views import View
from apps.gateway.choices import AnalysisMethod


class SummaryOutput(serializers.Serializer[Any]):
    """A stored summary."""

    conversation_id = IdField()
    text = serializers.CharField()
    method = serializers.ChoiceField(
        choices=AnalysisMethod.choices, help_text="fallback: the conversation's own most telling sentences."
    )
    model = serializers.CharField(allow_null=True, help_text="Model that was asked; null where none was.")
    message_id = IdField(help_text="Last message that it tells of.")
    message_count = serializers.IntegerField(help_text="How many messages it tells of.")
    cost = serializers.CharField(
        help_text="Of the calls for it, in USD; their usage has the endpoint conversations.summary."
    )
    is_outdated = serializers.BooleanField(help_text="The branch that is shown says something else by now.")
    made_at = serializers.DateTimeField()


class SummarizeView(AsyncView):
    """Summarize."""

    scopes: ClassVar[dict[str, str]] = {"POST": WRITE}

    @extend_schema(
        summary="Summarize a conversation and keep the summary",
        description=(
            "Of the finished messages of the branch that is shown, by a model on your account; in the conversation's own "
            "sentences where no model answers. With nothing new since, it is the stored summary, and no model is asked."
        ),
        operation_id="conversations_summarize",
        request=None,
        responses=SummaryOutput,
        examples=[examples.answered(examples.SUMMARY)],
    )
    async def post(self, request: Request, cid: str) -> HttpResponseBase:
        found = await summarize_conversation(actor=self.actor, conversation_id=id_in_path(Conversation, cid))
        return Response(describe_summary(found))


class SummaryView(View):
    """The stored summary."""

    scopes: ClassVar[dict[str, str]] = {"GET": READ}

    @extend_schema(
        summary="Get the stored summary of a conversation",
        description="204 where none has been made. No model is asked.",
        operation_id="conversations_summary",
        responses={200: SummaryOutput, 204: None},
        examples=[examples.answered({**examples.SUMMARY, "is_outdated": True})],
    )
    def get(self, request: Request, cid: str) -> Response:
        found = find_material(actor=self.actor, conversation_id=id_in_path(Conversation, cid))
        return Response(status=204) if found.stored is None else Response(describe_summary(found))
