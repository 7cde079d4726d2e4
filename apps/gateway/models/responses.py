"""Responses that are kept: to be gone on from, read again, followed while they are written."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from apps.core.ids import encode_id, uuid7
from apps.core.models import LivingProcess
from apps.gateway.choices import ACTIVE_RESPONSES, ResponseStatus
from apps.gateway.querysets import StoredResponseQuerySet

RESPONSE_PREFIX = "resp"


class StoredResponse(models.Model):
    """One response of /v1/responses. `id` is the request's, and so its usage record's.

    It belongs to a person in an organization, or to the OAuth client that called for none. `input` holds the new items
    alone, `document` the response object; both are JSON as text, because they are passed on and never searched (and jsonb
    refuses what JSON may hold). While it is written, `holder_id` names the process at work.
    """

    ID_PREFIX: ClassVar[str] = RESPONSE_PREFIX

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(editable=False)
    organization = models.ForeignKey("users.Organization", on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    oauth_client_id = models.CharField(max_length=255, blank=True)
    model = models.CharField(max_length=200)
    status = models.CharField(max_length=16, choices=ResponseStatus.choices)
    is_background = models.BooleanField(default=False)
    is_stream = models.BooleanField(default=False)
    previous_id = models.UUIDField(null=True)
    holder_id = models.UUIDField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    last_sequence = models.IntegerField(default=-1)
    input = models.TextField()
    document = models.TextField()

    objects = StoredResponseQuerySet.as_manager()

    class Meta:
        db_table = "gateway_response"
        constraints = [
            models.CheckConstraint(condition=Q(status__in=ResponseStatus.values), name="gateway_response_status"),
            models.CheckConstraint(
                condition=Q(user__isnull=False) | ~Q(oauth_client_id=""), name="gateway_response_has_owner"
            ),
            models.CheckConstraint(
                condition=Q(status__in=ACTIVE_RESPONSES, finished_at__isnull=True, holder_id__isnull=False)
                | (~Q(status__in=ACTIVE_RESPONSES) & Q(finished_at__isnull=False)),
                name="gateway_response_ends_once",
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="gateway_response_created"),
            models.Index(
                fields=["holder_id"], condition=Q(status__in=ACTIVE_RESPONSES), name="gateway_response_active"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        """Return the id that clients see."""
        return encode_id(self.ID_PREFIX, self.id)

    @property
    def is_active(self) -> bool:
        """Tell whether it is still being written."""
        return self.status in ACTIVE_RESPONSES


class ResponseEvents(models.Model):
    """A stretch of a response's events, as they were sent: `first` to `last` by number.

    Partitioned by month. `created_at` is the response's, so that its id tells in which partition to look.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField()
    response_id = models.UUIDField()
    first = models.PositiveIntegerField()
    last = models.PositiveIntegerField()
    events = models.TextField()

    class Meta:
        db_table = "gateway_response_event"
        indexes = [models.Index(fields=["response_id", "first"], name="gateway_response_event_place")]
        verbose_name_plural = "response events"

    def __str__(self) -> str:
        return f"{self.response_id} {self.first}–{self.last}"


class RespondingProcess(LivingProcess):
    """A web process that writes responses, and until when it may be taken for alive.

    One lease per process, not per response: keeping a thousand alive costs one small update every few seconds.
    """

    class Meta(LivingProcess.Meta):
        verbose_name_plural = "responding processes"
