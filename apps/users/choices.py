"""Words of the users house."""

from enum import StrEnum

from django.db import models


class Role(models.TextChoices):
    """A membership's role; each includes what the next may do."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Administrator"
    MEMBER = "member", "Member"
    VIEWER = "viewer", "Viewer"


class TeamRole(models.TextChoices):
    """A person's role in a team; its administrators choose its members."""

    ADMIN = "admin", "Administrator"
    MEMBER = "member", "Member"


RANK = {Role.VIEWER: 1, Role.MEMBER: 2, Role.ADMIN: 3, Role.OWNER: 4}


class SessionKind(models.TextChoices):
    """How a session shows itself: by cookie, or by access and refresh tokens."""

    WEB = "web", "Browser"
    TOKEN = "token", "Program"


class RevocationReason(models.TextChoices):
    """Why a session ended before its time."""

    LOGOUT = "logout", "Logged out"
    REVOKED = "revoked", "Ended by a person"
    TOKEN_REUSED = "token_reused", "A used refresh token came back"
    PASSWORD_CHANGED = "password_changed", "The password was changed"
    SUSPENDED = "suspended", "The account was suspended"


class CredentialKind(StrEnum):
    """What a caller showed at the entrance."""

    SESSION = "session"
    API_KEY = "api_key"
    OAUTH_TOKEN = "oauth_token"  # noqa: S105 - the word, not a token


class LinkPurpose(models.TextChoices):
    """What a mailed link is for."""

    VERIFY_EMAIL = "verify_email", "Confirm the address"
    RESET_PASSWORD = "reset_password", "Set a new password"
    ALREADY_REGISTERED = "already_registered", "Notice of a second registration"


# The one register of scopes: what keys and tokens may be given, with the sentence that consent pages show.
SCOPES: dict[str, str] = {
    "users:read": "See your profile, your sessions and the people of your organization.",
    "users:write": "Change your profile and end your sessions.",
    "keys:read": "See your API keys (never their secrets).",
    "keys:write": "Make, change, rotate and revoke API keys.",
    "gateway:use": "Call models through the OpenAI- and Anthropic-compatible API.",
    "models:read": "See the models and providers you can use.",
    "chat:write": "Send chat messages and stop running answers.",
    "conversations:read": "Read your conversations.",
    "conversations:write": "Create, change and delete your conversations.",
    "webhooks:read": "See webhooks and their deliveries.",
    "webhooks:write": "Create, change, test and delete webhooks.",
    "billing:read": "See usage, cost and prices.",
    "billing:write": "Change budgets and prices.",
    "audit:read": "Read the audit trail of your organization.",
    "monitoring:read": "See health and metrics of the platform.",
}

# What a person's identity is shown by (OpenID Connect); they open nothing of the API.
IDENTITY_SCOPES: dict[str, str] = {
    "openid": "Know who you are (a stable id).",
    "profile": "See your name.",
    "email": "See your e-mail address.",
}
