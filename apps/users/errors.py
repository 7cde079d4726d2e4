"""Failures of the users house."""

from apps.core.errors import Conflict, InvalidInput, NotAuthenticated, PermissionRefused, RateLimited


class CredentialsWrong(NotAuthenticated):
    code, title = "users.credentials_wrong", "E-mail or password is wrong"


class KeyUnknown(NotAuthenticated):
    code, title = "users.key_unknown", "The API key is not valid"


class TokenInvalid(NotAuthenticated):
    code, title = "users.token_invalid", "The access token is not valid"


class ScopeMissing(PermissionRefused):
    code, title = "users.scope_missing", "The key or token lacks a scope"


class RoleTooLow(PermissionRefused):
    code, title = "users.role_too_low", "Your role in the organization does not allow this"


class OrganizationUnknown(PermissionRefused):
    code, title = "users.organization_unknown", "You are not a member of this organization"


class LoginThrottled(RateLimited):
    code, title = "users.login_throttled", "Too many attempts to log in"


class EmailTaken(Conflict):
    code, title = "users.email_taken", "This e-mail address has an account"


class LinkInvalid(InvalidInput):
    code, title = "users.link_invalid", "The link is not valid or was used before"
