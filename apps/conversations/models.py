"""Conversations, their messages as a tree, and the runs that answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from apps.conversations.choices import ACTIVE, MessageRole, MessageStatus, RunStatus, TitleOrigin
from apps.conversations.querysets import ConversationQuerySet, MessageQuerySet, RunQuerySet
from apps.core.models import Entity, LivingProcess, VersionedEntity
from apps.core.money import from_micros
from apps.gateway.choices import AnalysisMethod

TITLE_LENGTH = 200
MODEL_LENGTH = 160


class Conversation(VersionedEntity):
    """One person's chat in one organization. `active_message` is the last message of the branch that is shown.

    `last_number` is the number that the newest message got; numbers are never given twice.
    """

    ID_PREFIX: ClassVar[str] = "conv"

    organization = models.ForeignKey("users.Organization", on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    title = models.CharField(max_length=TITLE_LENGTH, blank=True)
    # Empty before the first message, and for what was titled before this was kept.
    title_origin = models.CharField(
        max_length=16, choices=TitleOrigin.choices, default="", db_default="", blank=True, editable=False
    )
    model = models.CharField(max_length=MODEL_LENGTH, blank=True)
    # A composite foreign key of the migration keeps it within the conversation.
    active_message = models.ForeignKey(
        "conversations.Message", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_constraint=False
    )
    message_count = models.PositiveIntegerField(default=0, editable=False)
    last_number = models.PositiveIntegerField(default=0, editable=False)
    last_message_at = models.DateTimeField(default=timezone.now, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        permissions = [("reveal_conversation", "Can read the content of other people's conversations")]
        constraints = [
            models.CheckConstraint(
                condition=Q(message_count__lte=F("last_number")), name="conversations_conversation_count"
            )
        ]
        indexes = [
            models.Index(
                fields=["user", "organization", "-last_message_at", "-id"],
                condition=Q(deleted_at__isnull=True),
                name="conversations_conversation_own",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    def touch(self, *fields: str) -> None:
        """Save the named fields as a new version of the row, which the caller has locked."""
        self.version += 1
        self.save(update_fields=[*fields, "version", "updated_at"])


class Message(VersionedEntity):
    """One message of the tree. Its parent lies in the same conversation; `number` is its order of birth there."""

    ID_PREFIX: ClassVar[str] = "msg"

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    # A composite foreign key of the migration keeps it within the conversation.
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children", db_constraint=False
    )
    number = models.PositiveIntegerField(editable=False)
    role = models.CharField(max_length=16, choices=MessageRole.choices)
    content = models.TextField(blank=True)
    model = models.CharField(max_length=MODEL_LENGTH, blank=True)
    status = models.CharField(max_length=16, choices=MessageStatus.choices, default=MessageStatus.COMPLETE)
    error_code = models.CharField(max_length=96, blank=True)
    error_message = models.CharField(max_length=1000, blank=True)
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(null=True, blank=True)
    cost_micros = models.PositiveBigIntegerField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = MessageQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "number"], name="conversations_message_number"),
            # What the composite foreign keys point to.
            models.UniqueConstraint(fields=["conversation", "id"], name="conversations_message_home"),
            models.CheckConstraint(condition=~Q(parent=F("id")), name="conversations_message_not_own_parent"),
            models.CheckConstraint(condition=Q(role__in=MessageRole.values), name="conversations_message_role"),
            models.CheckConstraint(condition=Q(status__in=MessageStatus.values), name="conversations_message_status"),
            models.CheckConstraint(
                condition=Q(status=MessageStatus.COMPLETE) | Q(role=MessageRole.ASSISTANT),
                name="conversations_message_only_answers_run",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def usage(self) -> dict[str, Any] | None:
        """Return tokens and cost (a decimal string in the currency's unit), None where nothing was metered."""
        if self.prompt_tokens is None:
            return None
        cost = None if self.cost_micros is None else str(from_micros(self.cost_micros))
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens or 0, "cost": cost}

    @property
    def error(self) -> dict[str, str] | None:
        """Return why the answer failed, None if it did not."""
        return {"code": self.error_code, "message": self.error_message} if self.error_code else None


class MessageVersion(models.Model):
    """What a message said before it was edited."""

    id = models.BigAutoField(primary_key=True)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    content = models.TextField(blank=True)
    replaced_at = models.DateTimeField(db_default=Now())
    replaced_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "version"], name="conversations_version_once")]

    def __str__(self) -> str:
        return f"{self.message_id} @ {self.version}"


class ConversationSummary(Entity):
    """What a conversation's shown branch says, in few words; the latest one only.

    It tells of `message_count` messages, the last of which is `last_message`. `digest` is that of these messages in
    their versions: a branch with another digest has outgrown the summary.
    """

    ID_PREFIX: ClassVar[str] = "summary"

    conversation = models.OneToOneField(Conversation, on_delete=models.CASCADE, related_name="summary")
    last_message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+")
    message_count = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, editable=False)
    text = models.TextField()
    method = models.CharField(max_length=16, choices=AnalysisMethod.choices)
    model = models.CharField(max_length=MODEL_LENGTH, blank=True)
    cost_micros = models.PositiveBigIntegerField(default=0)
    made_at = models.DateTimeField()

    class Meta:
        db_table = "conversations_summary"
        verbose_name = "summary"
        verbose_name_plural = "summaries"

    def __str__(self) -> str:
        return self.public_id

    @property
    def cost(self) -> str:
        """Return what the calls for it cost, a decimal string in the currency's unit."""
        return str(from_micros(self.cost_micros))


class AnsweringProcess(LivingProcess):
    """A web process that answers, and until when it may be taken for alive.

    One lease per process, not per run: keeping a thousand answers alive costs one small update every two seconds.
    """

    class Meta(LivingProcess.Meta):
        verbose_name_plural = "answering processes"


class Run(Entity):
    """The one answering of one message. `request_id` is the gateway's call, and so its usage record.

    Its stream has numbered events: 1 is the start, then one per stored delta, `last_seq` the end.
    """

    ID_PREFIX: ClassVar[str] = "run"

    organization = models.ForeignKey("users.Organization", on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="runs")
    # One run per answer for ever, so also one active run; a composite foreign key keeps it within the conversation.
    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="run", db_constraint=False)
    sent_message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    model = models.CharField(max_length=MODEL_LENGTH)
    status = models.CharField(max_length=16, choices=RunStatus.choices, default=RunStatus.QUEUED)
    request_id = models.UUIDField(unique=True, editable=False)
    owner_id = models.UUIDField(editable=False)
    cancel_requested_at = models.DateTimeField(null=True, editable=False)
    last_seq = models.PositiveIntegerField(default=1, editable=False)
    error_status = models.PositiveSmallIntegerField(null=True, editable=False)
    # When the caller may try again, where the failure says so.
    error_retry_at = models.DateTimeField(null=True, editable=False)
    caller = models.CharField(max_length=96, blank=True, editable=False)
    idempotency_key = models.CharField(max_length=255, blank=True, editable=False)
    fingerprint = models.CharField(max_length=64, blank=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    objects = RunQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["caller", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="conversations_run_idempotent",
            ),
            models.CheckConstraint(condition=Q(status__in=RunStatus.values), name="conversations_run_status"),
            models.CheckConstraint(
                condition=Q(status__in=ACTIVE, finished_at__isnull=True)
                | (~Q(status__in=ACTIVE) & Q(finished_at__isnull=False)),
                name="conversations_run_ends_once",
            ),
        ]
        indexes = [
            models.Index(fields=["owner_id"], condition=Q(status__in=ACTIVE), name="conversations_run_active"),
            models.Index(fields=["created_at"], condition=~Q(idempotency_key=""), name="conversations_run_keyed"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_active(self) -> bool:
        """Tell whether the answer may still grow."""
        return self.status in ACTIVE

    @property
    def retry_after_seconds(self) -> float | None:
        """Return how long to wait before trying again after a failure; None where it does not matter or is unknown."""
        retry_at: datetime | None = self.error_retry_at
        return max(0.0, (retry_at - timezone.now()).total_seconds()) if retry_at else None

    @property
    def duration_seconds(self) -> float | None:
        """Return how long the answer took, None while it runs."""
        end: datetime | None = self.finished_at
        return (end - self.created_at).total_seconds() if end else None


class RunDelta(models.Model):
    """A piece of a running answer, written before any client sees it: what was seen can be read again.

    Partitioned by day; a day's pieces go when the stored messages have long replaced them.
    """

    pk = models.CompositePrimaryKey("run_id", "seq", "created_at")
    run_id = models.UUIDField()
    seq = models.PositiveIntegerField()
    text = models.TextField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.run_id} #{self.seq}"
