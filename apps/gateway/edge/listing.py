"""GET /v1/models: what a key may use."""

from __future__ import annotations

from typing import Any

from apps.gateway.selectors import Caller, ModelInfo, Snapshot
from apps.gateway.services.routing import find_named, resolve_name


def list_models(snapshot: Snapshot, caller: Caller) -> dict[str, Any]:
    """Return the list object: models by name, then the caller's aliases."""
    found = [describe_model(entry.info) for name, entry in snapshot.models.items() if caller.may_use(name)]
    for alias in snapshot.routing.aliases_of(caller.actor.organization_id):
        named = resolve_name(snapshot, caller, alias.name) if alias.name not in snapshot.models else None
        if named is not None:
            found.append(describe_model(named.entry.info, name=alias.name))
    return {"object": "list", "data": found}


def get_model(snapshot: Snapshot, caller: Caller, name: str) -> dict[str, Any]:
    """Return one model under any name that the caller may use. Raise ModelUnknown."""
    return describe_model(find_named(snapshot, caller, name).entry.info, name=name)


def describe_model(info: ModelInfo, *, name: str = "") -> dict[str, Any]:
    """Return OpenAI's model object."""
    return {"id": name or info.name, "object": "model", "created": info.created, "owned_by": info.owned_by}
