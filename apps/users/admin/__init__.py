"""Staff pages of the users house."""

from apps.users.admin.keys import ApiKeyAdmin
from apps.users.admin.oauth import OAuthClientAdmin
from apps.users.admin.people import MembershipAdmin, OrganizationAdmin, UserAdmin
from apps.users.admin.sessions import UserSessionAdmin
from apps.users.admin.teams import TeamAdmin, TeamMembershipAdmin

__all__ = [
    "ApiKeyAdmin",
    "MembershipAdmin",
    "OAuthClientAdmin",
    "OrganizationAdmin",
    "TeamAdmin",
    "TeamMembershipAdmin",
    "UserAdmin",
    "UserSessionAdmin",
]
