"""Failures of the users house."""

from apps.core.errors import AppError, Conflict, InvalidInput, NotAuthenticated, PermissionRefused, RateLimited


class CredentialsWrong(NotAuthenticated):
    code, title = "users.credentials_wrong", "E-mail or password is wrong"


class KeyUnknown(NotAuthenticated):
    code, title = "users.key_unknown", "The API key is not valid"


class TokenInvalid(NotAuthenticated):
    code, title = "users.token_invalid", "The access token is not valid"


class RefreshTokenInvalid(NotAuthenticated):
    code, title = "users.refresh_token_invalid", "The refresh token is not valid"


class CsrfRefused(PermissionRefused):
    code, title = "users.csrf_refused", "The request does not come from our pages"


class ScopeMissing(PermissionRefused):
    code, title = "users.scope_missing", "The key or token lacks a scope"


class RoleTooLow(PermissionRefused):
    code, title = "users.role_too_low", "Your role in the organization does not allow this"


class OrganizationUnknown(PermissionRefused):
    code, title = "users.organization_unknown", "You are not a member of this organization"


class GrantTooWide(PermissionRefused):
    code, title = "users.grant_too_wide", "A key cannot have more than its creator"


class RegistrationClosed(PermissionRefused):
    code, title = "users.registration_closed", "Registration is closed"


class LoginThrottled(RateLimited):
    code, title = "users.login_throttled", "Too many attempts to log in"


class MailThrottled(RateLimited):
    code, title = "users.mail_throttled", "Too many mails were asked for"


class EmailTaken(Conflict):
    code, title = "users.email_taken", "This e-mail address has an account"


class AlreadyMember(Conflict):
    code, title = "users.already_member", "The person is a member already"


class LastOwner(Conflict):
    code, title = "users.last_owner", "An organization keeps at least one owner"


class TeamTaken(Conflict):
    code, title = "users.team_taken", "The organization has a team with this slug"


class TeamInUse(Conflict):
    code, title = "users.team_in_use", "Other teams lie within this one"


class TeamUnfit(InvalidInput):
    code, title = "users.team_unfit", "The team cannot be used here"


class KeyRevoked(Conflict):
    code, title = "users.key_revoked", "The API key is revoked"


class LinkInvalid(InvalidInput):
    code, title = "users.link_invalid", "The link is not valid or was used before"


class PasswordWeak(InvalidInput):
    code, title = "users.password_weak", "The password is too easy to guess"


class ScopeUnknown(InvalidInput):
    code, title = "users.scope_unknown", "There is no such scope"


class BootstrapRefused(AppError):
    code, status, title = "users.bootstrap_refused", 500, "The first start cannot be finished"
