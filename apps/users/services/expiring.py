"""Forget credentials that nobody can use any more."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.sessions.models import Session
from django.db.models.functions import Now
from oauth2_provider.models import clear_expired

from apps.users.models import UserSession

# Ended sessions stay visible for a while, and used refresh tokens keep betraying copies for as long.
KEEP = timedelta(days=30)


def forget_expired_credentials() -> int:
    """Delete sessions (with their refresh tokens) 30 days after they ended, expired cookies and OAuth tokens."""
    count, _ = UserSession.objects.filter(expires_at__lt=Now() - KEEP).delete()
    cookies, _ = Session.objects.filter(expire_date__lt=Now()).delete()
    clear_expired()
    return count + cookies
