"""Background work of the users house."""

from __future__ import annotations

from smtplib import SMTPException
from uuid import UUID

from celery import shared_task

from apps.users.services.mailing import lost_links, send_link


@shared_task(
    name="users.send_mail", autoretry_for=(OSError, SMTPException), retry_backoff=5, retry_jitter=True, max_retries=5
)
def send_mail(link_id: str) -> None:
    """Send one mail; a second call sends nothing."""
    send_link(link_id=UUID(link_id))


def resend_lost_mail() -> int:
    """Ring again for mails whose task was lost; return how many."""
    lost = lost_links()
    for link_id in lost:
        send_mail.delay(str(link_id))
    return len(lost)
