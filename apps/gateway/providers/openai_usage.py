"""The `usage` object of the OpenAI format, as its many speakers write it."""

from __future__ import annotations

from apps.gateway.providers.base import MAX_COUNT, Usage

OWN_PRICE_TIERS = frozenset({"batch", "flex", "priority"})


def parse_usage(usage: object, service_tier: object = None) -> Usage | None:
    """Return the counts, or None when there are none. Zeros that are written are counts: what the provider says is charged.

    `service_tier` is what the answer around them names.
    """
    if not isinstance(usage, dict):
        return None
    prompt = usage.get("prompt_tokens_details")
    completion = usage.get("completion_tokens_details")
    cached = _count(prompt, "cached_tokens") or _count(usage, "prompt_cache_hit_tokens")
    parsed = Usage(
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cached_tokens=cached,
        reasoning_tokens=_count(completion, "reasoning_tokens"),
        cache_write_tokens=_count(prompt, "cache_write_tokens"),
        service_tier=read_service_tier(service_tier),
    )
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    return parsed if any(isinstance(count, int) and count >= 0 for count in counts) else None


def read_service_tier(named: object) -> str:
    """Return the tier that an answer names, where it has prices of its own; "" for the standard one in all its names."""
    return named if isinstance(named, str) and named in OWN_PRICE_TIERS else ""


def _count(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return min(value, MAX_COUNT) if isinstance(value, int) and value > 0 else 0
