"""Answers of the gateway: what may be called, by whom, and where a call goes."""

from apps.gateway.selectors.callers import Caller, caller_of_actor, confirm_caller, find_caller
from apps.gateway.selectors.catalogue import ModelEntry, ModelInfo, Route, Snapshot, load_snapshot
from apps.gateway.selectors.listing import find_usable_model, usable_models

__all__ = [
    "Caller",
    "ModelEntry",
    "ModelInfo",
    "Route",
    "Snapshot",
    "caller_of_actor",
    "confirm_caller",
    "find_caller",
    "find_usable_model",
    "load_snapshot",
    "usable_models",
]
