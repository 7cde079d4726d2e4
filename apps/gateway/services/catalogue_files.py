"""The catalogue files: which models the well-known providers have, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
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
        models += [CatalogueModel(name, values, price, as_of) for name in (row["name"], *row.get("aliases", ()))]
    return models


def _read_price(row: dict[str, str]) -> PriceCard:
    # A file gives dollars per million tokens; a price that it leaves out is that of ordinary input.
    return PriceCard(
        input_micros=to_micros(row["input"]),
        output_micros=to_micros(row["output"]),
        cached_micros=to_micros(row.get("cached", row["input"])),
        cache_write_micros=to_micros(row.get("cache_write", row["input"])),
        reasoning_micros=to_micros(row["reasoning"]) if "reasoning" in row else None,
    )
