"""Nouns of the users house."""

from apps.users.models.keys import ApiKey
from apps.users.models.oauth import OAuthClient
from apps.users.models.people import Membership, Organization, User
from apps.users.models.sessions import MailedLink, RefreshToken, UserSession
from apps.users.models.teams import Team, TeamMembership

__all__ = [
    "ApiKey",
    "MailedLink",
    "Membership",
    "OAuthClient",
    "Organization",
    "RefreshToken",
    "Team",
    "TeamMembership",
    "User",
    "UserSession",
]
