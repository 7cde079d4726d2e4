"""What Claude's generations accept, as their migration guides say: a parameter too many is a 400 there.

| | up to 4.5 | 4.6 | from 4.7 | from 5 |
| --- | --- | --- | --- | --- |
| thinking | budget of tokens | adaptive with effort | same, text only on request | same, always on in most |
| effort | | low to high, max | and xhigh | and xhigh |
| temperature, top_p, top_k | one of the first two | one of the first two | none | none |
"""

from __future__ import annotations

import re
from functools import lru_cache

OTHER = (0, 0)
"""Not Claude: servers that speak its format. They are taken to accept what the oldest generation does."""
NEWEST = (99, 0)
"""A Claude whose name says no version: taken to be as strict as the newest."""

FIRST_ADAPTIVE = (4, 6)
FIRST_WITHOUT_SAMPLING = (4, 7)
FIRST_ALWAYS_THINKING = (5, 0)

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 24_576, "max": 32_000}
_MAX_TOKENS = 4_096
_MAX_TOKENS_WITH_THINKING = 16_384


@lru_cache(maxsize=1024)
def parse_generation(model: str) -> tuple[int, int]:
    """Return the version in a model's name, such as (4, 5); the names of clouds and dates around it don't matter."""
    name = model.lower()
    if "claude" not in name:
        return OTHER
    match = _VERSION.search(name)
    return (int(match[1]), int(match[2] or 0)) if match else NEWEST


def default_max_tokens(model: str) -> int:
    """Return the limit for a request that names none: Anthropic's format demands one, and thinking counts against it."""
    return _MAX_TOKENS if parse_generation(model) < FIRST_ADAPTIVE else _MAX_TOKENS_WITH_THINKING


def translate_effort(effort: str, model: str) -> str | None:
    """Return Anthropic's word for OpenAI's reasoning effort; None where the model knows none or none is meant."""
    generation = parse_generation(model)
    if generation < FIRST_ADAPTIVE:
        return None
    if effort == "none":
        # Most of these models cannot be told not to think, but all can be told to think little.
        return "low" if generation >= FIRST_ALWAYS_THINKING else None
    if effort == "xhigh" and generation < FIRST_WITHOUT_SAMPLING:
        return "high"
    return _EFFORTS.get(effort)


def thinking_budget(effort: str, max_tokens: int) -> int | None:
    """Return the budget of tokens for an effort; None when it is no effort or leaves no room under `max_tokens`.

    Anthropic wants at least 1,024 and less than `max_tokens`. A quarter is kept for the answer itself.
    """
    budget = min(_BUDGETS.get(effort, 0), max_tokens * 3 // 4)
    return budget if budget >= _BUDGETS["minimal"] else None
