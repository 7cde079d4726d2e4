"""Facts of the users house: ids and words of ours, never a name, an address or a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from apps.events.events import DomainEvent

FOR_THE_TRAIL = "Kept for the audit trail and for webhooks."
EXAMPLE_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@dataclass(frozen=True, kw_only=True)
class UserRegistered(DomainEvent):
    """A person has an account. `is_self_service` tells registration from creation by somebody else."""

    type = "user.registered"
    aggregate_type = "user"
    is_public = True
    example: ClassVar = {"is_self_service": True}
    unheard_because = FOR_THE_TRAIL

    is_self_service: bool


@dataclass(frozen=True, kw_only=True)
class UserSuspended(DomainEvent):
    type = "user.suspended"
    aggregate_type = "user"
    is_public = True
    unheard_because = FOR_THE_TRAIL


@dataclass(frozen=True, kw_only=True)
class UserActivated(DomainEvent):
    type = "user.activated"
    aggregate_type = "user"
    is_public = True
    unheard_because = FOR_THE_TRAIL


@dataclass(frozen=True, kw_only=True)
class UserChanged(DomainEvent):
    """Fields of a person changed; their names, not their values."""

    type = "user.changed"
    aggregate_type = "user"
    example: ClassVar = {"fields": ["name"]}
    unheard_because = FOR_THE_TRAIL

    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EmailVerified(DomainEvent):
    type = "user.email_verified"
    aggregate_type = "user"
    unheard_because = FOR_THE_TRAIL


@dataclass(frozen=True, kw_only=True)
class PasswordChanged(DomainEvent):
    """A password was set anew; `by_link` tells a reset from a change by somebody who knew the old one."""

    type = "user.password_changed"
    aggregate_type = "user"
    example: ClassVar = {"by_link": False}
    unheard_because = FOR_THE_TRAIL

    by_link: bool


@dataclass(frozen=True, kw_only=True)
class LinkRequested(DomainEvent):
    """Somebody asked for a mail; the address stays in the row."""

    type = "mailed_link.requested"
    aggregate_type = "mailed_link"
    example: ClassVar = {"purpose": "reset_password"}

    purpose: str


@dataclass(frozen=True, kw_only=True)
class OrganizationCreated(DomainEvent):
    type = "organization.created"
    aggregate_type = "organization"
    example: ClassVar = {"is_personal": False}
    unheard_because = FOR_THE_TRAIL

    is_personal: bool


@dataclass(frozen=True, kw_only=True)
class OrganizationSuspended(DomainEvent):
    type = "organization.suspended"
    aggregate_type = "organization"
    unheard_because = FOR_THE_TRAIL


@dataclass(frozen=True, kw_only=True)
class OrganizationActivated(DomainEvent):
    type = "organization.activated"
    aggregate_type = "organization"
    unheard_because = FOR_THE_TRAIL


@dataclass(frozen=True, kw_only=True)
class MembershipAdded(DomainEvent):
    type = "membership.added"
    aggregate_type = "membership"
    is_public = True
    example: ClassVar = {"user_id": EXAMPLE_ID, "role": "member"}
    unheard_because = FOR_THE_TRAIL

    user_id: UUID
    role: str


@dataclass(frozen=True, kw_only=True)
class MembershipRoleChanged(DomainEvent):
    type = "membership.role_changed"
    aggregate_type = "membership"
    is_public = True
    example: ClassVar = {"user_id": EXAMPLE_ID, "role": "admin", "previous_role": "member"}
    unheard_because = FOR_THE_TRAIL

    user_id: UUID
    role: str
    previous_role: str


@dataclass(frozen=True, kw_only=True)
class MembershipRemoved(DomainEvent):
    type = "membership.removed"
    aggregate_type = "membership"
    is_public = True
    example: ClassVar = {"user_id": EXAMPLE_ID}
    unheard_because = FOR_THE_TRAIL

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class ApiKeyIssued(DomainEvent):
    type = "api_key.issued"
    aggregate_type = "api_key"
    is_public = True
    example: ClassVar = {"user_id": EXAMPLE_ID, "scopes": ["gateway:use"]}
    unheard_because = FOR_THE_TRAIL

    user_id: UUID
    scopes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ApiKeyChanged(DomainEvent):
    """Fields of a key changed; their names, not their values."""

    type = "api_key.changed"
    aggregate_type = "api_key"
    is_public = True
    example: ClassVar = {"fields": ["requests_per_minute"]}
    unheard_because = FOR_THE_TRAIL

    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ApiKeyRotated(DomainEvent):
    """A key has a new secret; the old one opens for `overlap_seconds` more."""

    type = "api_key.rotated"
    aggregate_type = "api_key"
    is_public = True
    example: ClassVar = {"overlap_seconds": 86400}
    unheard_because = FOR_THE_TRAIL

    overlap_seconds: int


@dataclass(frozen=True, kw_only=True)
class ApiKeyRevoked(DomainEvent):
    type = "api_key.revoked"
    aggregate_type = "api_key"
    is_public = True
    unheard_because = FOR_THE_TRAIL


@dataclass(frozen=True, kw_only=True)
class SessionStarted(DomainEvent):
    type = "session.started"
    aggregate_type = "session"
    example: ClassVar = {"user_id": EXAMPLE_ID, "kind": "web"}
    unheard_because = FOR_THE_TRAIL

    user_id: UUID
    kind: str


@dataclass(frozen=True, kw_only=True)
class SessionRevoked(DomainEvent):
    type = "session.revoked"
    aggregate_type = "session"
    is_public = True
    example: ClassVar = {"user_id": EXAMPLE_ID, "reason": "logout"}
    unheard_because = FOR_THE_TRAIL

    user_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True)
class OAuthClientCreated(DomainEvent):
    type = "oauth_client.created"
    aggregate_type = "oauth_client"
    example: ClassVar = {"grant_type": "client-credentials"}
    unheard_because = FOR_THE_TRAIL

    grant_type: str


@dataclass(frozen=True, kw_only=True)
class OAuthClientChanged(DomainEvent):
    """Fields of a client changed; their names, not their values."""

    type = "oauth_client.changed"
    aggregate_type = "oauth_client"
    example: ClassVar = {"fields": ["redirect_uris"]}
    unheard_because = FOR_THE_TRAIL

    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ConsentTakenBack(DomainEvent):
    """A person ended what a client may do for them."""

    type = "oauth_client.consent_taken_back"
    aggregate_type = "oauth_client"
    example: ClassVar = {"user_id": EXAMPLE_ID}
    unheard_because = FOR_THE_TRAIL

    user_id: UUID


@dataclass(frozen=True, kw_only=True)
class TeamCreated(DomainEvent):
    """An organization has a team; `parent_id` is the one that it lies within."""

    type = "team.created"
    aggregate_type = "team"
    is_public = True
    example: ClassVar = {"parent_id": None}
    unheard_because = FOR_THE_TRAIL

    parent_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class TeamChanged(DomainEvent):
    """Fields of a team changed; their names, not their values."""

    type = "team.changed"
    aggregate_type = "team"
    is_public = True
    example: ClassVar = {"fields": ["name"]}
    unheard_because = FOR_THE_TRAIL

    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TeamDeleted(DomainEvent):
    """A team is gone; its keys and people count for none from now on."""

    type = "team.deleted"
    aggregate_type = "team"
    is_public = True
    unheard_because = FOR_THE_TRAIL


@dataclass(frozen=True, kw_only=True)
class TeamMemberAdded(DomainEvent):
    """A person works in a team, or has another role there than before."""

    type = "team.member_added"
    aggregate_type = "team"
    is_public = True
    example: ClassVar = {"user_id": EXAMPLE_ID, "role": "member"}
    unheard_because = FOR_THE_TRAIL

    user_id: UUID
    role: str


@dataclass(frozen=True, kw_only=True)
class TeamMemberRemoved(DomainEvent):
    """A person left a team; keys of theirs that counted for it count for none."""

    type = "team.member_removed"
    aggregate_type = "team"
    is_public = True
    example: ClassVar = {"user_id": EXAMPLE_ID}
    unheard_because = FOR_THE_TRAIL

    user_id: UUID
