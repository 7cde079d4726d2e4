"""Who calls, as far as terms depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from apps.users.models import ApiKey


@dataclass(frozen=True, slots=True)
class Bound:
    """A caller's place; `team_ids` are the team that its calls count for and those around it, innermost first."""

    organization_id: UUID
    user_id: UUID | None = None
    api_key: ApiKey | None = None
    team_ids: tuple[UUID, ...] = ()
