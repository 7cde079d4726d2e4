"""Which rate limits bind a caller, as the limiter takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.core.ids import encode_id
from apps.gateway.choices import LimitAlgorithm, LimitScope
from apps.gateway.models import Limit
from apps.gateway.models.limits import SUBJECT_KINDS
from apps.gateway.selectors.bound import Bound
from apps.users.models import ApiKey, Organization, Team, User

PER_CALL = frozenset({LimitScope.END_USER, LimitScope.TAG, LimitScope.MODEL})
"""Scopes that the call decides on, not the caller."""


@dataclass(frozen=True, slots=True)
class LimitTerms:
    """One limit as it binds one caller.

    `id` names its counters; `label` says in messages whose limit it is. For a scope of PER_CALL `subject` is the one value
    that it is about, "" for each value by itself, whose counters `within` keeps apart between organizations. `model` is
    the only model that it is about, "" for all. None is no limit; with `is_bucket` the bursts are the bucket's sizes.
    """

    id: str
    scope: str
    label: str
    subject: str = ""
    within: str = ""
    model: str = ""
    requests: int | None = None
    tokens: int | None = None
    parallel: int | None = None
    is_bucket: bool = False
    burst_requests: int | None = None
    burst_tokens: int | None = None


def limits_of(bound: Bound) -> tuple[LimitTerms, ...]:
    """Return every limit that can apply to a caller's calls: its key's own, and the rows about it or about everybody."""
    found = list(_of_key(bound.api_key))
    teams: dict[str, str] = {}
    for row, pid in rows_binding(bound):
        if row.scope in PER_CALL:
            within = "" if row.organization_id or row.scope == LimitScope.MODEL else str(bound.organization_id)
            found.append(_terms(row, id=str(row.id), label=row.get_scope_display().lower(), within=within))
            continue
        if row.scope == LimitScope.TEAM and not teams:
            teams = {team.public_id: team.name for team in Team.objects.filter(id__in=bound.team_ids)}
        found.append(_terms(row, id=f"{row.id}:{pid}", label=_label(row.scope, pid, bound, teams)))
    return tuple(found)


def rows_binding(bound: Bound) -> Iterator[tuple[Limit, str]]:
    """Give the active limits that can apply, each with the public id that it binds, or "" where the call decides."""
    names = _public_ids(bound)
    mine = [pid for pids in names.values() for pid in pids]
    rows = Limit.objects.active().about(organization_id=bound.organization_id, subjects=mine, scopes=tuple(PER_CALL))
    for row in rows:
        if row.scope in PER_CALL:
            yield row, ""
        else:
            yield from ((row, pid) for pid in names[row.scope] if row.subject in ("", pid))


def names_of_subjects(limits: Iterable[Limit]) -> dict[str, str]:
    """Return the name of every organization, team, person and key that limits are about, by its public id."""
    ids: dict[type[Any], set[UUID]] = {}
    for limit in limits:
        kind = SUBJECT_KINDS.get(limit.scope)
        if kind is not None and limit.subject:
            ids.setdefault(kind, set()).add(kind.parse_id(limit.subject))
    return {
        row.public_id: row.email if isinstance(row, User) else row.name
        for kind, wanted in ids.items()
        for row in kind._default_manager.filter(id__in=wanted)
    }


def _of_key(key: ApiKey | None) -> tuple[LimitTerms, ...]:
    """Return the limit that a key carries itself."""
    if key is None or (
        key.requests_per_minute is None and key.tokens_per_minute is None and key.parallel_calls is None
    ):
        return ()
    return (
        LimitTerms(
            id=f"key:{key.id}",
            scope=LimitScope.KEY,
            label=f'key "{key.name}"',
            requests=key.requests_per_minute,
            tokens=key.tokens_per_minute,
            parallel=key.parallel_calls,
        ),
    )


def _public_ids(bound: Bound) -> dict[str, tuple[str, ...]]:
    key, user_id = bound.api_key, bound.user_id
    return {
        LimitScope.ORGANIZATION: (encode_id(Organization.ID_PREFIX, bound.organization_id),),
        LimitScope.TEAM: tuple(encode_id(Team.ID_PREFIX, team_id) for team_id in bound.team_ids),
        LimitScope.USER: (encode_id(User.ID_PREFIX, user_id),) if user_id else (),
        LimitScope.KEY: (key.public_id,) if key else (),
    }


def _label(scope: str, pid: str, bound: Bound, teams: dict[str, str]) -> str:
    if scope == LimitScope.KEY and bound.api_key is not None:
        return f'key "{bound.api_key.name}"'
    if scope == LimitScope.TEAM:
        return f'team "{teams[pid]}"'
    return f"{LimitScope(scope).label.lower()} {pid}"


def _terms(row: Limit, *, id: str, label: str, within: str = "") -> LimitTerms:
    is_bucket = row.algorithm == LimitAlgorithm.TOKEN_BUCKET
    return LimitTerms(
        id=id,
        scope=row.scope,
        label=label,
        subject=row.subject if row.scope in PER_CALL else "",
        within=within,
        model=row.model,
        requests=row.requests_per_minute,
        tokens=row.tokens_per_minute,
        parallel=row.parallel_calls,
        is_bucket=is_bucket,
        burst_requests=(row.burst_requests or row.requests_per_minute) if is_bucket else None,
        burst_tokens=(row.burst_tokens or row.tokens_per_minute) if is_bucket else None,
    )
