"""Which models somebody may use."""

from __future__ import annotations

from apps.core.actor import Actor
from apps.gateway.errors import ModelUnknown
from apps.gateway.selectors.callers import caller_of_actor
from apps.gateway.selectors.catalogue import ModelInfo, load_snapshot


def usable_models(actor: Actor) -> list[ModelInfo]:
    """Return the models the actor may call, by name. Raise KeyUnknown when its key is usable no more."""
    caller = caller_of_actor(actor)
    return [entry.info for name, entry in load_snapshot().models.items() if caller.may_use(name)]


def find_usable_model(actor: Actor, wanted: str) -> ModelInfo:
    """Return a model by public id or name. Raise ModelUnknown: what is forbidden looks like what is not there."""
    for info in usable_models(actor):
        if wanted in {info.id, info.name}:
            return info
    raise ModelUnknown(f"There is no model {wanted[:200]!r} that you may use.")
