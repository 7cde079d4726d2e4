"""GET /v1/models: what a key may use."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from apps.gateway.selectors import Caller, ModelInfo, Snapshot
from apps.gateway.services.routing import find_named, resolve_name


def list_models(snapshot: Snapshot, caller: Caller, *, for_anthropic: bool = False) -> dict[str, Any]:
    """Return the list object: models by name, then the caller's aliases."""
    describe = describe_for_anthropic if for_anthropic else describe_model
    found = [describe(entry.info) for name, entry in snapshot.models.items() if caller.may_use(name)]
    for alias in snapshot.routing.aliases_of(caller.actor.organization_id):
        named = resolve_name(snapshot, caller, alias.name) if alias.name not in snapshot.models else None
        if named is not None:
            found.append(describe(named.entry.info, name=alias.name))
    if for_anthropic:
        ends = (found[0]["id"], found[-1]["id"]) if found else (None, None)
        return {"data": found, "has_more": False, "first_id": ends[0], "last_id": ends[1]}
    return {"object": "list", "data": found}


def get_model(snapshot: Snapshot, caller: Caller, name: str, *, for_anthropic: bool = False) -> dict[str, Any]:
    """Return one model under any name that the caller may use. Raise ModelUnknown."""
    describe = describe_for_anthropic if for_anthropic else describe_model
    return describe(find_named(snapshot, caller, name).entry.info, name=name)


def describe_model(info: ModelInfo, *, name: str = "") -> dict[str, Any]:
    """Return OpenAI's model object."""
    return {"id": name or info.name, "object": "model", "created": info.created, "owned_by": info.owned_by}


def describe_for_anthropic(info: ModelInfo, *, name: str = "") -> dict[str, Any]:
    """Return Anthropic's model object."""
    shown = name or info.name
    return {
        "type": "model",
        "id": shown,
        "display_name": shown,
        "created_at": datetime.fromtimestamp(info.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
        "max_input_tokens": info.context_window,
        "max_tokens": info.max_output_tokens,
    }
