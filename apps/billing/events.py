"""Facts of the billing house."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from apps.events.events import DomainEvent


@dataclass(frozen=True, kw_only=True)
class PriceChanged(DomainEvent):
    """A model costs something else from a moment on. Prices are micro-USD per million tokens."""

    type: ClassVar[str] = "price.changed"
    aggregate_type: ClassVar[str] = "price"
    example: ClassVar[dict[str, Any]] = {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "valid_from": "2026-01-01T00:00:00+00:00",
        "input_micros": 150_000,
        "output_micros": 600_000,
        "cached_micros": 75_000,
        "cache_write_micros": 150_000,
        "reasoning_micros": None,
    }

    provider: str
    model: str
    valid_from: datetime
    input_micros: int
    output_micros: int
    cached_micros: int
    cache_write_micros: int
    reasoning_micros: int | None
