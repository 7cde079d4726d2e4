"""What a model's name means to a caller: a model, an alias, a model at one provider; or nothing that it may use."""

from __future__ import annotations

from dataclasses import dataclass, replace

from apps.gateway.errors import ModelUnknown
from apps.gateway.selectors import Caller, ModelEntry, Snapshot
from apps.gateway.selectors.routing import AliasEntry, Fallbacks


@dataclass(frozen=True, slots=True)
class Named:
    """A model under a name that the caller may use.

    `permitted_by` is the name that the key's list holds (the one asked for where the key has no list); `trusted` are
    fallbacks that this name permits along with the model.
    """

    entry: ModelEntry
    permitted_by: str
    fallbacks: Fallbacks
    trusted: frozenset[str] = frozenset()


def find_named(snapshot: Snapshot, caller: Caller, name: str) -> Named:
    """Return what a name means. Raise ModelUnknown: what is forbidden looks like what is not there."""
    found = resolve_name(snapshot, caller, name)
    if found is None:
        raise ModelUnknown(f"Model {name[:200]!r} does not exist, or this key may not use it.", param="model")
    return found


def resolve_name(snapshot: Snapshot, caller: Caller, name: str) -> Named | None:
    """Return what a name means to a caller; None when that is nothing, or nothing that it may use.

    A model's own name goes before any alias. An alias is permitted by its own name or by its model's, and only its own name
    permits the fallbacks that it lists; a model at one provider is permitted by `provider/model` or by the model's name.
    """
    entry = snapshot.models.get(name)
    if entry is not None:
        return Named(entry, name, entry.fallbacks) if caller.may_use(name) else None
    alias = snapshot.routing.find_alias(name, caller.actor.organization_id)
    if alias is not None:
        return _resolve_alias(snapshot, caller, alias)
    provider, separator, rest = name.partition("/")
    entry = snapshot.models.get(rest) if separator else None
    if entry is None:
        return None
    routes = tuple(route for route in entry.routes if route.target.provider == provider)
    permitted_by = name if caller.may_use(name) else rest
    if not routes or not caller.may_use(permitted_by):
        return None
    return Named(replace(entry, routes=routes), permitted_by, entry.fallbacks)


def _resolve_alias(snapshot: Snapshot, caller: Caller, alias: AliasEntry) -> Named | None:
    entry = snapshot.models.get(alias.model)
    if entry is None:
        return None
    fallbacks = alias.fallbacks.over(entry.fallbacks)
    if caller.may_use(alias.name):
        own = alias.fallbacks
        return Named(entry, alias.name, fallbacks, frozenset(own.general + own.context + own.content))
    return Named(entry, alias.model, fallbacks) if caller.may_use(alias.model) else None
