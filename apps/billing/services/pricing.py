"""What a call costs: exact integer arithmetic, rounded once."""

from __future__ import annotations

from apps.billing.models import PriceCard

__all__ = ["PriceCard", "cost_micros"]

TOKENS_PER_PRICE = 1_000_000


def cost_micros(
    card: PriceCard,
    *,
    prompt_tokens: int,
    completion_tokens: int,
    cached_tokens: int = 0,
    cache_write_tokens: int = 0,
    reasoning_tokens: int = 0,
) -> int:
    """Return the cost of a call in micro-USD, rounded half to even once at the end.

    Tokens are counted as OpenAI counts them: `cached_tokens` and `cache_write_tokens` are parts of `prompt_tokens`,
    `reasoning_tokens` are a part of `completion_tokens`. Parts larger than their whole are charged as given, the rest
    of the whole as nothing.
    """
    reasoning_micros = card.output_micros if card.reasoning_micros is None else card.reasoning_micros
    millionths = (
        max(prompt_tokens - cached_tokens - cache_write_tokens, 0) * card.input_micros
        + cached_tokens * card.cached_micros
        + cache_write_tokens * card.cache_write_micros
        + max(completion_tokens - reasoning_tokens, 0) * card.output_micros
        + reasoning_tokens * reasoning_micros
    )
    whole, rest = divmod(millionths, TOKENS_PER_PRICE)
    half = TOKENS_PER_PRICE // 2
    return whole + (1 if rest > half or (rest == half and whole % 2) else 0)
