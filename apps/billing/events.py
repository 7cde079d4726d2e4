"""Facts of the billing house."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from apps.events.events import DomainEvent


@dataclass(frozen=True, kw_only=True)
class PriceChanged(DomainEvent):
    """A model costs something else from a moment on, in one service tier. Prices are micro-USD per million tokens."""

    type: ClassVar[str] = "price.changed"
    aggregate_type: ClassVar[str] = "price"
    example: ClassVar[dict[str, Any]] = {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "service_tier": "standard",
        "valid_from": "2026-01-01T00:00:00+00:00",
        "input_micros": 150_000,
        "output_micros": 600_000,
        "cached_micros": 75_000,
        "cache_write_micros": 150_000,
        "reasoning_micros": None,
        "cache_write_1h_micros": None,
        "long_after_tokens": 272_000,
        "long_input_micros": 300_000,
        "long_output_micros": 900_000,
        "long_cached_micros": 150_000,
        "long_cache_write_micros": 300_000,
        "long_cache_write_1h_micros": None,
    }

    provider: str
    model: str
    service_tier: str
    valid_from: datetime
    input_micros: int
    output_micros: int
    cached_micros: int
    cache_write_micros: int
    reasoning_micros: int | None
    cache_write_1h_micros: int | None
    long_after_tokens: int | None
    long_input_micros: int | None
    long_output_micros: int | None
    long_cached_micros: int | None
    long_cache_write_micros: int | None
    long_cache_write_1h_micros: int | None
