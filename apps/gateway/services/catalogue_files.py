"""The catalogue files: which models the well-known providers have, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from apps.billing.services.pricing import PriceCard
from apps.core.money import to_micros

DIRECTORY = Path(__file__).resolve().parents[1] / "catalogue"


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """One model of a catalogue file."""

    name: str
    values: dict[str, Any]
    """Fields of the model's row."""
    price: PriceCard | None
    as_of: datetime
    tiers: Mapping[str, PriceCard] = field(default_factory=dict)
    """Prices of service tiers that have their own."""


def read_catalogue(directory: Path = DIRECTORY) -> dict[str, list[CatalogueModel]]:
    """Return the models of every file, by provider."""
    return {path.stem: _read_file(path) for path in sorted(directory.glob("*.json"))}


def _read_file(path: Path) -> list[CatalogueModel]:
    document = orjson.loads(path.read_bytes())
    as_of = datetime.fromisoformat(document["as_of"]).replace(tzinfo=UTC)
    models = []
    for row in document["models"]:
        values = {
            "tier": row["tier"],
            "context_window": row["context_window"],
            "max_output_tokens": row["max_output_tokens"],
            "capabilities": row["capabilities"],
            "owned_by": row.get("owned_by", document["owned_by"]),
            "is_sandbox": document["provider"] == "sandbox",
        }
        price = _read_price(row["price"]) if "price" in row else None
        tiers = {tier: _read_tier(price, told) for tier, told in row.get("tiers", {}).items()} if price else {}
        models += [CatalogueModel(name, values, price, as_of, tiers) for name in (row["name"], *row.get("aliases", ()))]
    return models


def _read_price(row: dict[str, Any]) -> PriceCard:
    # A file gives dollars per million tokens; a price that it leaves out is that of ordinary input.
    return PriceCard(
        input_micros=to_micros(row["input"]),
        output_micros=to_micros(row["output"]),
        cached_micros=to_micros(row.get("cached", row["input"])),
        cache_write_micros=to_micros(row.get("cache_write", row["input"])),
        reasoning_micros=_optional(row, "reasoning"),
        cache_write_1h_micros=_optional(row, "cache_write_1h"),
        long_after_tokens=row.get("long_after"),
        long_input_micros=_optional(row, "long_input"),
        long_output_micros=_optional(row, "long_output"),
        long_cached_micros=_optional(row, "long_cached" if "cached" in row else "long_input"),
        long_cache_write_micros=_optional(row, "long_cache_write" if "cache_write" in row else "long_input"),
        long_cache_write_1h_micros=_optional(row, "long_cache_write_1h"),
    )


def _optional(row: dict[str, Any], name: str) -> int | None:
    return to_micros(row[name]) if name in row else None


def _read_tier(standard: PriceCard, told: str | dict[str, Any]) -> PriceCard:
    """Return what a tier costs: prices of its own, or a factor on every standard one."""
    if isinstance(told, dict):
        return _read_price(told)
    scaled = {
        name: int(value * Decimal(told))
        for name, value in asdict(standard).items()
        if name.endswith("_micros") and value is not None
    }
    return replace(standard, **scaled)
