"""Conversations for staff: by metadata. What people wrote is read only through an explicit, reasoned, audited reveal."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action

from apps.conversations.forms import RevealForm
from apps.conversations.models import AnsweringProcess, Conversation, ConversationSummary, Message, Run
from apps.conversations.services.conversations import restore_conversation, reveal_conversation
from apps.core.actor import Actor
from apps.core.admin import ReadOnlyModelAdmin, link_to
from apps.core.errors import InvalidInput, NotFound

# Only ids and figures: a title is the beginning of what somebody wrote.
METADATA: tuple[str, ...] = (
    "public_id", "organization", "user", "model", "message_count", "last_message_at", "created_at", "deleted_at",
)  # fmt: skip


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor


class MetadataAdmin(ReadOnlyModelAdmin):
    """A page that shows metadata only: fields and searches never touch what people wrote."""

    show_full_result_count = False

    @admin.display(description="id")
    def public_id(self, row: Any) -> str:
        return str(row.public_id)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Find a row by its public id too."""
        try:
            return queryset.filter(id=self.model.parse_id(search_term.strip())), False
        except InvalidInput:
            return super().get_search_results(request, queryset, search_term)


class DeletedFilter(admin.SimpleListFilter):
    title = "deleted"
    parameter_name = "deleted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Keep the deleted or the others."""
        chosen = {"yes": queryset.deleted, "no": queryset.alive}.get(self.value() or "")
        return chosen() if chosen else queryset


@admin.register(Conversation)
class ConversationAdmin(MetadataAdmin):
    list_display: ClassVar[Any] = METADATA
    fields: ClassVar[Any] = (*METADATA, "title_origin", "version", "updated_at", "summarized")
    list_filter: ClassVar[Any] = (DeletedFilter, "model", "last_message_at")
    list_select_related: ClassVar[Any] = ("organization", "user")
    readonly_fields: ClassVar[Any] = ("summarized",)
    search_fields: ClassVar[Any] = ("=user__email", "=organization__slug", "=model")
    ordering: ClassVar[Any] = ("-last_message_at", "-id")
    actions: ClassVar[Any] = ("restore",)
    actions_detail: ClassVar[Any] = ("reveal",)

    def has_restore_permission(self, request: HttpRequest) -> bool:
        """Ask for the model's change permission, which the page itself never gives."""
        return request.user.has_perm("conversations.change_conversation")

    def has_reveal_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Ask for the permission of its own that reading takes."""
        return request.user.has_perm("conversations.reveal_conversation")

    @admin.display(description="summary")
    def summarized(self, row: Conversation) -> Any:
        """Tell of the summary by its figures, with a link to its page."""
        summary = ConversationSummary.objects.filter(conversation=row).first()
        if summary is None:
            return "None yet"
        words = f"{summary.message_count} messages, {summary.model or summary.get_method_display()}"
        return link_to(ConversationSummary, summary.id, f"{words}, {summary.made_at:%Y-%m-%d %H:%M} UTC")

    @admin.action(description="Restore deleted conversations", permissions=["restore"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        ids = list(Conversation.objects.deleted().filter(id__in=queryset.values("id")).values_list("id", flat=True))
        for conversation_id in ids:
            restore_conversation(actor=_actor(request), conversation_id=conversation_id, is_anybodys=True)
        messages.success(request, f"{len(ids)} conversations are back.")

    @action(description="Reveal content…", url_path="reveal", icon="visibility", permissions=["reveal"])
    def reveal(self, request: HttpRequest, object_id: str) -> TemplateResponse:
        """Ask for a reason; show the content once it was given, recorded with it, and only in that one answer."""
        try:
            conversation = self.get_object(request, object_id)
            if conversation is None:
                raise NotFound()
        except NotFound:
            raise Http404 from None
        form = RevealForm(request.POST or None)
        rows: list[Message] = []
        if request.method == "POST" and form.is_valid():
            rows = self._reveal(request, conversation.id, form.cleaned_data["reason"])
        context = {
            **self.admin_site.each_context(request),
            "title": f"Reveal {conversation.public_id}",
            "opts": self.opts,
            "conversation": conversation,
            "form": form,
            "is_revealed": request.method == "POST" and form.is_valid(),
            "rows": rows,
            "summary": ConversationSummary.objects.filter(conversation=conversation).first() if rows else None,
            "back": reverse("admin:conversations_conversation_change", args=[conversation.id]),
        }
        return TemplateResponse(request, "admin/conversations/conversation/reveal.html", context)

    def _reveal(self, request: HttpRequest, conversation_id: UUID, reason: str) -> list[Message]:
        reveal_conversation(actor=_actor(request), conversation_id=conversation_id, reason=reason)
        return list(Message.objects.filter(conversation_id=conversation_id).order_by("number"))


@admin.register(Message)
class MessageAdmin(MetadataAdmin):
    list_display: ClassVar[Any] = (
        "public_id", "conversation", "role", "status", "model", "prompt_tokens", "completion_tokens", "created_at",
    )  # fmt: skip
    fields: ClassVar[Any] = (
        "public_id", "conversation", "parent", "number", "role", "status", "model", "error_code", "prompt_tokens",
        "completion_tokens", "cost_micros", "version", "created_at", "updated_at", "deleted_at",
    )  # fmt: skip
    list_filter: ClassVar[Any] = ("role", "status", "model", "created_at")
    search_fields: ClassVar[Any] = ("=error_code", "=model")
    ordering: ClassVar[Any] = ("-id",)


@admin.register(ConversationSummary)
class ConversationSummaryAdmin(MetadataAdmin):
    list_display: ClassVar[Any] = (
        "public_id", "conversation", "method", "model", "message_count", "cost", "made_at",
    )  # fmt: skip
    fields: ClassVar[Any] = (*list_display, "last_message", "created_at")
    list_filter: ClassVar[Any] = ("method", "model", "made_at")
    search_fields: ClassVar[Any] = ("=model", "=conversation__user__email")
    ordering: ClassVar[Any] = ("-made_at", "-id")

    @admin.display(description="cost (USD)", ordering="cost_micros")
    def cost(self, row: ConversationSummary) -> str:
        return row.cost


@admin.register(Run)
class RunAdmin(MetadataAdmin):
    list_display: ClassVar[Any] = (
        "public_id", "organization", "user", "status", "model", "created_at", "duration_seconds", "last_seq",
    )  # fmt: skip
    fields: ClassVar[Any] = (
        "public_id", "organization", "user", "conversation", "message", "status", "model", "request_id", "owner_id",
        "cancel_requested_at", "last_seq", "error_status", "error_retry_at", "created_at", "finished_at", "duration_seconds",
    )  # fmt: skip
    list_filter: ClassVar[Any] = ("status", "model", "created_at")
    list_select_related: ClassVar[Any] = ("organization", "user")
    search_fields: ClassVar[Any] = ("=user__email", "=request_id", "=owner_id")
    ordering: ClassVar[Any] = ("-id",)


@admin.register(AnsweringProcess)
class AnsweringProcessAdmin(ReadOnlyModelAdmin):
    list_display: ClassVar[Any] = ("__str__", "id", "started_at", "lease_until", "is_alive")
    list_filter: ClassVar[Any] = ("host",)
    search_fields: ClassVar[Any] = ("host", "=id")
    ordering: ClassVar[Any] = ("-started_at", "id")
    show_full_result_count = False

    @admin.display(boolean=True, description="alive")
    def is_alive(self, row: AnsweringProcess) -> bool:
        return row.is_alive
