"""Sessions, their refresh tokens, and the links that mails carry."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from apps.core.models import Entity
from apps.users.choices import LinkPurpose, RevocationReason, SessionKind
from apps.users.models.people import User
from apps.users.querysets import MailedLinkQuerySet, UserSessionQuerySet

# In order: the later ones are part of what the earlier ones say.
BROWSERS = [("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari")]
SYSTEMS = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
]


class UserSession(Entity):
    """One logged-in device: a browser, or a program with a family of refresh tokens.

    Every request of the session looks here, so that revoking takes hold at once. `device` is the User-Agent.
    """

    ID_PREFIX: ClassVar[str] = "sess"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    kind = models.CharField(max_length=8, choices=SessionKind.choices)
    device = models.CharField(max_length=300, blank=True)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    last_seen_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_because = models.CharField(max_length=24, choices=RevocationReason.choices, blank=True)

    objects = UserSessionQuerySet.as_manager()

    class Meta:
        verbose_name = "session"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(revoked_at__isnull=True, revoked_because="")
                | (models.Q(revoked_at__isnull=False) & ~models.Q(revoked_because="")),
                name="users_session_revocation_reasoned",
            )
        ]
        indexes = [models.Index(fields=["user", "-last_seen_at"], name="users_session_user")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} session {self.public_id}"

    @property
    def device_name(self) -> str:
        """Return a short name of the device, as far as its User-Agent lets one guess."""
        browser = next((name for mark, name in BROWSERS if mark in self.device), "")
        system = next((name for mark, name in SYSTEMS if mark in self.device), "")
        if browser and system:
            return f"{browser} on {system}"
        return self.device.split(" ")[0][:60] or "Unknown device"

    @property
    def is_live(self) -> bool:
        """Tell whether the session is neither revoked nor expired."""
        return self.revoked_at is None and self.expires_at > timezone.now()


class RefreshToken(Entity):
    """One refresh token of a session, kept as SHA-256. Used once; a second use betrays a copy."""

    ID_PREFIX: ClassVar[str] = "rt"

    session = models.ForeignKey(UserSession, on_delete=models.CASCADE, related_name="refresh_tokens")
    token_hash = models.CharField(max_length=64, editable=False)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token_hash"], name="users_refreshtoken_hash_unique")]

    def __str__(self) -> str:
        return f"refresh token {self.public_id}"


class MailedLink(Entity):
    """A mail that somebody asked for, and the single-use link in it.

    A row is made whether or not the address has an account, so that asking costs the same and tells nothing. The token is
    made when the mail is sent; only its SHA-256 is kept.
    """

    ID_PREFIX: ClassVar[str] = "link"

    purpose = models.CharField(max_length=24, choices=LinkPurpose.choices)
    email = models.EmailField(max_length=254)
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.CASCADE, related_name="mailed_links")
    token_hash = models.CharField(max_length=64, null=True, blank=True, editable=False)
    expires_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)

    objects = MailedLinkQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token_hash"], name="users_mailedlink_token_unique")]
        indexes = [
            models.Index(
                fields=["created_at"], name="users_mailedlink_unsent", condition=models.Q(sent_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} {self.public_id}"
