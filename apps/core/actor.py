"""Who is calling: made by every entrance, passed on explicitly."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

ALL_SCOPES = "*"


class ActorKind(StrEnum):
    USER = "user"
    API_KEY = "api_key"
    OAUTH_CLIENT = "oauth_client"
    SYSTEM = "system"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Actor:
    """One caller and what it may do.

    `organization_id` is the tenant the call acts in; `role` is the membership role there (`owner`, `admin`, `member`,
    `viewer`) or "" for none; `scopes` holds granted scopes or `*`.
    """

    kind: ActorKind
    user_id: UUID | None = None
    organization_id: UUID | None = None
    api_key_id: UUID | None = None
    oauth_client_id: str | None = None
    role: str = ""
    scopes: frozenset[str] = field(default_factory=frozenset)
    is_staff: bool = False
    impersonator_id: UUID | None = None
    request_id: str = ""

    def has_scope(self, scope: str) -> bool:
        """Tell whether the scope was granted; `conversations:write` includes `conversations:read`."""
        if ALL_SCOPES in self.scopes or scope in self.scopes:
            return True
        area, _, verb = scope.partition(":")
        return verb == "read" and f"{area}:write" in self.scopes

    def with_request_id(self, request_id: str) -> Actor:
        """Return the same caller in another request."""
        return replace(self, request_id=request_id)

    def describe(self) -> dict[str, str]:
        """Return the ids that events and the audit trail keep; no personal text."""
        pairs = {
            "kind": self.kind.value,
            "user_id": self.user_id,
            "organization_id": self.organization_id,
            "api_key_id": self.api_key_id,
            "oauth_client_id": self.oauth_client_id,
            "impersonator_id": self.impersonator_id,
        }
        return {name: str(value) for name, value in pairs.items() if value}


ANONYMOUS = Actor(kind=ActorKind.ANONYMOUS)


def system_actor(*, request_id: str = "", organization_id: UUID | None = None) -> Actor:
    """Return the platform itself as the caller: relays, sweeps, commands."""
    return Actor(
        kind=ActorKind.SYSTEM, scopes=frozenset({ALL_SCOPES}), request_id=request_id, organization_id=organization_id
    )
