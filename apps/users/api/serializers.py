"""Shapes of the users house in /api/v3: what comes in and what goes out are two things."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.users.choices import SCOPES, Role, TeamRole
from apps.users.models import ApiKey, Membership, Team, TeamMembership, User, UserSession

MAX_PASSWORD = 1024
MAX_TOKEN = 256


class LoginInput(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=254)
    password = serializers.CharField(max_length=MAX_PASSWORD, trim_whitespace=False)


class RegisterInput(LoginInput):
    name = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class RefreshInput(serializers.Serializer[Any]):
    refresh_token = serializers.CharField(max_length=MAX_TOKEN)


class VerifyEmailInput(serializers.Serializer[Any]):
    token = serializers.CharField(max_length=MAX_TOKEN)


class ForgotPasswordInput(serializers.Serializer[Any]):
    email = serializers.EmailField(max_length=254)


class ResetPasswordInput(serializers.Serializer[Any]):
    token = serializers.CharField(max_length=MAX_TOKEN)
    password = serializers.CharField(max_length=MAX_PASSWORD, trim_whitespace=False)


class AcceptedOutput(serializers.Serializer[Any]):
    detail = serializers.CharField()


class TokenOutput(serializers.Serializer[Any]):
    """An access token and the refresh token that gets the next one."""

    access_token = serializers.CharField(source="access.value")
    token_type = serializers.SerializerMethodField()
    expires_in = serializers.IntegerField(source="access.expires_in_seconds", help_text="Seconds.")
    refresh_token = serializers.CharField()
    session_id = serializers.CharField(source="session.public_id")
    user_id = serializers.CharField(source="session.user.public_id")

    def get_token_type(self, pair: Any) -> str:
        """Return the word of RFC 6750."""
        return "Bearer"


class MembershipOutput(serializers.ModelSerializer[Membership]):
    organization_id = serializers.CharField(source="organization.public_id")
    organization_name = serializers.CharField(source="organization.name")
    is_personal = serializers.BooleanField(source="organization.is_personal")
    role = serializers.ChoiceField(choices=Role.choices)

    class Meta:
        model = Membership
        fields = ("organization_id", "organization_name", "is_personal", "role")


class MeOutput(serializers.ModelSerializer[User]):
    """The caller: who it is, where it acts, what it may do."""

    id = serializers.CharField(source="public_id")
    is_email_verified = serializers.SerializerMethodField()
    organization_id = serializers.SerializerMethodField(help_text="The organization that this request acts in.")
    role = serializers.SerializerMethodField()
    scopes = serializers.SerializerMethodField(help_text="What this credential may do.")
    memberships = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = (
            "id",
            "email",
            "name",
            "is_staff",
            "is_email_verified",
            "created_at",
            "organization_id",
            "role",
            "scopes",
            "memberships",
        )

    def get_is_email_verified(self, user: User) -> bool:
        """Tell whether the address was confirmed."""
        return user.email_verified_at is not None

    def get_organization_id(self, user: User) -> str | None:
        """Return where the actor acts."""
        acting = next((item for item in self.context["memberships"] if self._is_here(item)), None)
        return acting.organization.public_id if acting else None

    def get_role(self, user: User) -> str:
        """Return the actor's role there."""
        role: str = self.context["actor"].role
        return role

    def get_scopes(self, user: User) -> list[str]:
        """Return the known scopes that the actor has."""
        return [scope for scope in SCOPES if self.context["actor"].has_scope(scope)]

    @extend_schema_field(MembershipOutput(many=True))
    def get_memberships(self, user: User) -> Any:
        """Return the organizations of the person."""
        return MembershipOutput(self.context["memberships"], many=True).data

    def _is_here(self, membership: Membership) -> bool:
        return bool(membership.organization_id == self.context["actor"].organization_id)


class MeInput(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    default_organization_id = serializers.CharField(
        max_length=40, required=False, help_text="An organization that you are a member of."
    )


class SessionOutput(serializers.ModelSerializer[UserSession]):
    id = serializers.CharField(source="public_id")
    is_current = serializers.SerializerMethodField(help_text="The session of this very request.")

    class Meta:
        model = UserSession
        fields = ("id", "kind", "device", "ip_address", "created_at", "last_seen_at", "expires_at", "is_current")

    def get_is_current(self, session: UserSession) -> bool:
        """Tell whether the request came with this session."""
        return bool(session.id == self.context["current_id"])


class ApiKeyOutput(serializers.ModelSerializer[ApiKey]):
    id = serializers.CharField(source="public_id")
    user_id = serializers.CharField(source="user.public_id")
    organization_id = serializers.CharField(source="organization.public_id")
    scopes = serializers.ListField(child=serializers.CharField(), help_text="Empty: all that its user may do.")
    allowed_models = serializers.ListField(child=serializers.CharField(), help_text="Empty: every model.")
    team_id = serializers.CharField(
        source="team.public_id", default=None, allow_null=True, help_text="The team that the key's calls count for."
    )
    previous_expires_at = serializers.DateTimeField(
        allow_null=True, help_text="Until when the secret before the last rotation still opens."
    )

    class Meta:
        model = ApiKey
        fields = (
            "id",
            "user_id",
            "organization_id",
            "team_id",
            "name",
            "prefix",
            "scopes",
            "allowed_models",
            "requests_per_minute",
            "tokens_per_minute",
            "parallel_calls",
            "expires_at",
            "previous_expires_at",
            "last_used_at",
            "created_at",
            "revoked_at",
        )


class ApiKeySecretOutput(ApiKeyOutput):
    """A key with its secret, which is shown this once."""

    secret = serializers.SerializerMethodField()

    class Meta(ApiKeyOutput.Meta):
        fields = (*ApiKeyOutput.Meta.fields, "secret")  # type: ignore[assignment]

    def get_secret(self, key: ApiKey) -> str:
        """Return the clear text."""
        secret: str = self.context["secret"]
        return secret


def _limit() -> serializers.IntegerField:
    return serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=2_147_483_647)


class ApiKeyInput(serializers.Serializer[Any]):
    """A new key; what is left out is not restricted."""

    name = serializers.CharField(max_length=120)
    scopes = serializers.ListField(child=serializers.CharField(max_length=64), required=False, max_length=64)
    allowed_models = serializers.ListField(child=serializers.CharField(max_length=160), required=False, max_length=200)
    requests_per_minute = _limit()
    tokens_per_minute = _limit()
    parallel_calls = _limit()
    team_id = serializers.CharField(
        max_length=40, required=False, allow_null=True, help_text="A team of yours that the key's calls count for."
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class ApiKeyChangeInput(ApiKeyInput):
    name = serializers.CharField(max_length=120, required=False)


class RotateInput(serializers.Serializer[Any]):
    overlap_seconds = serializers.IntegerField(
        required=False,
        default=86_400,
        min_value=0,
        max_value=30 * 86_400,
        help_text="How long the present secret still opens; 0 ends it at once.",
    )


class TeamOutput(serializers.ModelSerializer[Team]):
    id = serializers.CharField(source="public_id")
    organization_id = serializers.CharField(source="organization.public_id")
    parent_id = serializers.CharField(
        source="parent.public_id", default=None, allow_null=True, help_text="The team that it lies within."
    )

    class Meta:
        model = Team
        fields = ("id", "organization_id", "parent_id", "name", "slug", "is_active", "created_at")


class TeamInput(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=200)
    slug = serializers.SlugField(max_length=80, required=False, help_text="Made from the name where it is left out.")
    parent_id = serializers.CharField(max_length=40, required=False, allow_null=True)


class TeamChangeInput(TeamInput):
    name = serializers.CharField(max_length=200, required=False)
    is_active = serializers.BooleanField(required=False)


class TeamMemberOutput(serializers.ModelSerializer[TeamMembership]):
    user_id = serializers.CharField(source="user.public_id")
    name = serializers.CharField(source="user.name")
    email = serializers.EmailField(source="user.email")
    role = serializers.ChoiceField(choices=TeamRole.choices)

    class Meta:
        model = TeamMembership
        fields = ("user_id", "name", "email", "role", "created_at")


class TeamMemberInput(serializers.Serializer[Any]):
    role = serializers.ChoiceField(choices=TeamRole.choices, required=False, default=TeamRole.MEMBER)
