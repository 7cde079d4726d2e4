"""What the users house does about events."""

from __future__ import annotations

from django.db import transaction

from apps.events.services import StoredEvent
from apps.users.tasks import send_mail


def on_link_requested(event: StoredEvent) -> None:
    """Have the mail sent; the mail server is the task's to wait for."""
    transaction.on_commit(lambda: send_mail.delay(str(event.aggregate_id)))
