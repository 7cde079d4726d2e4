"""GET /v1/models: what a key may use."""

from __future__ import annotations

from typing import Any

from apps.gateway.selectors import Caller, ModelInfo, Snapshot
from apps.gateway.services.opening import find_model


def list_models(snapshot: Snapshot, caller: Caller) -> dict[str, Any]:
    """Return the list object."""
    infos = [entry.info for name, entry in snapshot.models.items() if caller.may_use(name)]
    return {"object": "list", "data": [describe_model(info) for info in infos]}


def get_model(snapshot: Snapshot, caller: Caller, name: str) -> dict[str, Any]:
    """Return one model. Raise ModelUnknown."""
    return describe_model(find_model(snapshot.models.get(name), name, caller).info)


def describe_model(info: ModelInfo) -> dict[str, Any]:
    """Return OpenAI's model object."""
    return {"id": info.name, "object": "model", "created": info.created, "owned_by": info.owned_by}
