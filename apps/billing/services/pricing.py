"""What a call costs: exact integer arithmetic, rounded once."""

from __future__ import annotations

from apps.billing.models import PriceCard
from apps.billing.models.prices import card_values

__all__ = ["PriceCard", "card_values", "cost_micros"]

TOKENS_PER_PRICE = 1_000_000


def cost_micros(
    card: PriceCard,
    *,
    prompt_tokens: int,
    completion_tokens: int,
    cached_tokens: int = 0,
    cache_write_tokens: int = 0,
    reasoning_tokens: int = 0,
    cache_write_1h_tokens: int = 0,
) -> int:
    """Return the cost of a call in micro-USD, rounded half to even once at the end.

    Tokens are counted as OpenAI counts them: `cached_tokens` and `cache_write_tokens` are parts of `prompt_tokens`,
    `cache_write_1h_tokens` are a part of `cache_write_tokens`, `reasoning_tokens` are a part of `completion_tokens`. Parts
    larger than their whole are charged as given, the rest of the whole as nothing.
    """
    if card.long_after_tokens is not None and prompt_tokens > card.long_after_tokens:
        card = _long_card(card)
    reasoning_micros = card.output_micros if card.reasoning_micros is None else card.reasoning_micros
    millionths = (
        max(prompt_tokens - cached_tokens - cache_write_tokens, 0) * card.input_micros
        + cached_tokens * card.cached_micros
        + cache_write_tokens * card.cache_write_micros
        + max(completion_tokens - reasoning_tokens, 0) * card.output_micros
        + reasoning_tokens * reasoning_micros
    )
    if cache_write_1h_tokens and card.cache_write_1h_micros is not None:
        millionths += cache_write_1h_tokens * (card.cache_write_1h_micros - card.cache_write_micros)
    whole, rest = divmod(millionths, TOKENS_PER_PRICE)
    half = TOKENS_PER_PRICE // 2
    return whole + (1 if rest > half or (rest == half and whole % 2) else 0)


def _long_card(card: PriceCard) -> PriceCard:
    """Return what a long prompt costs: each price that is given for it, and the ordinary one otherwise.

    Reasoning that has no price of its own follows the output.
    """
    return PriceCard(
        input_micros=_either(card.long_input_micros, card.input_micros),
        output_micros=_either(card.long_output_micros, card.output_micros),
        cached_micros=_either(card.long_cached_micros, card.cached_micros),
        cache_write_micros=_either(card.long_cache_write_micros, card.cache_write_micros),
        reasoning_micros=card.reasoning_micros,
        cache_write_1h_micros=(
            card.cache_write_1h_micros if card.long_cache_write_1h_micros is None else card.long_cache_write_1h_micros
        ),
    )


def _either(price: int | None, other: int) -> int:
    return other if price is None else price
