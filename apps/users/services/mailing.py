"""Send the mails that people asked for."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db.models.functions import Now
from django.template.loader import render_to_string

from apps.users.choices import LinkPurpose
from apps.users.models import MailedLink
from apps.users.services.sessions import hash_token

logger = structlog.get_logger(__name__)

LOST_AFTER = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Letter:
    """A kind of mail: its subject, its templates, and the page that its link opens."""

    subject: str
    template: str
    path: str


LETTERS = {
    LinkPurpose.VERIFY_EMAIL: Letter("Confirm your address", "verify_email", "/verify-email"),
    LinkPurpose.RESET_PASSWORD: Letter("Set a new password", "reset_password", "/reset-password"),
    LinkPurpose.ALREADY_REGISTERED: Letter("You have an account already", "already_registered", "/forgot-password"),
}


def send_link(*, link_id: UUID) -> bool:
    """Send a mail unless it was sent; tell whether there was one to send.

    The token is made here and only its hash is kept. Who is killed between sending and noting it lets the mail be sent a
    second time, with another token; the first one is void then. No transaction is held while the mail server answers.
    """
    link = MailedLink.objects.unsent().select_related("user").filter(id=link_id).first()
    if link is None:
        return False
    if link.user is not None and link.user.is_active:
        token = secrets.token_urlsafe(32)
        MailedLink.objects.filter(id=link.id, sent_at__isnull=True).update(token_hash=hash_token(token))
        _send(link, token)
    MailedLink.objects.filter(id=link.id).update(sent_at=Now())
    return True


def lost_links() -> list[UUID]:
    """Return the mails that should have gone out by now."""
    lost = MailedLink.objects.unsent().filter(created_at__lt=Now() - LOST_AFTER)
    return list(lost.order_by("created_at").values_list("id", flat=True)[:100])


def forget_old_links() -> int:
    """Delete links a week after they expired; return how many."""
    count, _ = MailedLink.objects.filter(expires_at__lt=Now() - timedelta(days=7)).delete()
    return count


def _send(link: MailedLink, token: str) -> None:
    letter = LETTERS[LinkPurpose(link.purpose)]
    query = "" if link.purpose == LinkPurpose.ALREADY_REGISTERED else f"?token={token}"
    context = {"user": link.user, "url": f"{settings.SITE_URL}{letter.path}{query}", "subject": letter.subject}
    message = EmailMultiAlternatives(
        subject=f"{letter.subject} – Portico",
        body=render_to_string(f"users/mail/{letter.template}.txt", context),
        to=[link.email],
        headers={"Auto-Submitted": "auto-generated"},
    )
    message.attach_alternative(render_to_string(f"users/mail/{letter.template}.html", context), "text/html")
    message.send()
    logger.info("mail_sent", purpose=link.purpose, link=link.public_id)
