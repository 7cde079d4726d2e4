"""What people are shown of the trail: an object's entries, differences, and public ids instead of stored ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import models

from apps.audit.choices import Source
from apps.audit.models import TrailEntry
from apps.audit.querysets import TrailQuerySet
from apps.core.ids import encode_id


@cache
def models_by_table() -> dict[str, type[models.Model]]:
    """Return every model by its table."""
    return {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}


@cache
def prefixes_by_name() -> dict[str, str]:
    """Return the prefix of public ids by the lower-case name of the model (`apikey` → `key`)."""
    named = {model._meta.model_name or "": getattr(model, "ID_PREFIX", "") for model in apps.get_models()}
    return {name: prefix for name, prefix in named.items() if prefix}


def model_of(entry: TrailEntry) -> type[models.Model] | None:
    """Return the model of the row that changed; None for events and for tables that are gone."""
    return models_by_table().get(entry.object_type) if entry.source == Source.CHANGE else None


def public_object_id(entry: TrailEntry) -> str:
    """Return the id of what an entry is about, as the API shows it elsewhere."""
    model = model_of(entry)
    if entry.source == Source.CHANGE:
        return _public(entry.object_id, getattr(model, "ID_PREFIX", ""))
    return _public(entry.object_id, _prefix_of_name(entry.object_type) or entry.object_type)


def public_values(entry: TrailEntry, values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return columns or payload fields with public ids wherever the kind of the id is known."""
    if values is None:
        return None
    model = model_of(entry)
    return {name: _public(value, _prefix_of_column(name, model)) for name, value in values.items()}


def public_actor(actor: Mapping[str, Any]) -> dict[str, Any]:
    """Return who acted, with public ids."""
    return {name: _public(value, _prefix_of_name(name)) for name, value in actor.items()}


def describe_actor(actor: Mapping[str, Any], *, email: str = "") -> str:
    """Return who acted in a few words: the e-mail of a user, the client or database role otherwise."""
    kind = str(actor.get("kind", "")).replace("_", " ")
    who = email or actor.get("oauth_client_id") or actor.get("db_user") or ""
    text = f"{who} ({kind})" if who else kind
    return f"{text}, impersonated" if actor.get("impersonator_id") else text


@dataclass(frozen=True, slots=True)
class Difference:
    """One column before and after; None where the row was not there, or for the fields of an event."""

    name: str
    before: str | None
    after: str | None


def list_differences(entry: TrailEntry) -> list[Difference]:
    """Return every column or payload field of an entry, by name."""
    before = public_values(entry, entry.before) or {}
    after = public_values(entry, entry.payload if entry.source == Source.EVENT else entry.after) or {}
    return [
        Difference(name, _text_of(before, name), _text_of(after, name)) for name in sorted(before.keys() | after.keys())
    ]


def trail_of(instance: models.Model) -> TrailQuerySet:
    """Return what happened to one object, newest first: its row's changes and the events about it."""
    found: TrailQuerySet = TrailEntry.objects.of_object(str(instance.pk), table=instance._meta.db_table)
    return found.newest_first()


def _text_of(values: Mapping[str, Any], name: str) -> str | None:
    if name not in values:
        return None
    value = values[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _prefix_of_column(name: str, model: type[models.Model] | None) -> str:
    if model is not None:
        for field in model._meta.concrete_fields:
            if field.column == name and field.primary_key:
                return getattr(model, "ID_PREFIX", "")
            if field.column == name and field.is_relation:
                return getattr(field.related_model, "ID_PREFIX", "")
    return _prefix_of_name(name)


def _prefix_of_name(name: str) -> str:
    """Return the prefix of the model that is called so, or of the only one whose name ends so (`session`)."""
    stem = "user" if name == "impersonator_id" else name.removesuffix("_id").replace("_", "")
    if stem == "request":  # known by its usage record, which is called otherwise
        return "req"
    prefixes = prefixes_by_name()
    if stem in prefixes:
        return prefixes[stem]
    longer = [prefix for model, prefix in prefixes.items() if model.endswith(stem)]
    return longer[0] if stem and len(longer) == 1 else ""


def _public(value: Any, prefix: str) -> Any:
    if not prefix or not isinstance(value, str):
        return value
    try:
        return encode_id(prefix, UUID(value))
    except ValueError:
        return value
