"""What a limit tells: how it stands, and why it refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from apps.core.errors import RateLimited
from apps.gateway.errors import ParallelLimitReached, RequestLimitReached, TokenLimitReached
from apps.gateway.runtime.window import KIND_BUCKET, SHORT_OF_REQUESTS, SHORT_OF_SLOTS, SHORT_OF_TOKENS, Counter

LONGEST_WAIT_SECONDS = 120.0
"""SDKs heed no longer Retry-After."""
PARALLEL_WAIT_SECONDS = 1.0
"""When a call ends nobody knows; so it is worth asking again soon."""
WORDS = {SHORT_OF_REQUESTS: "requests", SHORT_OF_TOKENS: "tokens", SHORT_OF_SLOTS: "parallel_calls"}


@dataclass(frozen=True, slots=True)
class Measure:
    """One limit of one subject and what is used of it; `short` tells of what (SHORT_OF_…)."""

    label: str
    short: int
    limit: int
    used: int
    reset_seconds: int

    @property
    def left(self) -> int:
        """Return what is left, at least 0."""
        return max(self.limit - self.used, 0)

    @property
    def kind(self) -> str:
        """Return `requests`, `tokens` or `parallel_calls`."""
        return WORDS[self.short]


class Refusing(Protocol):
    """The counter that refused, and whose it is."""

    @property
    def label(self) -> str: ...
    @property
    def counter(self) -> Counter: ...


def refuse_call(bind: Refusing, answer: list[int], *, is_local: bool) -> RateLimited:
    """Return the error of a refusal: whose limit, how much of it is used, and when there is room."""
    number, short, wait_ms, _ = answer[:4]
    requests, tokens = answer[2 + 2 * number], answer[3 + 2 * number]
    kind, requests_limit, tokens_limit, requests_burst, tokens_burst, amount = bind.counter
    share = " (this process's share while Redis does not answer)" if is_local else ""
    seconds = min(max(wait_ms, 1) / 1000, LONGEST_WAIT_SECONDS)
    if short == SHORT_OF_SLOTS:
        return ParallelLimitReached(
            f"The limit of {requests_limit} calls at a time of {bind.label} is reached{share}: {requests} are running. "
            "Try again when one has ended.",
            retry_after_seconds=PARALLEL_WAIT_SECONDS,
        )
    at_once = requests_burst if short == SHORT_OF_REQUESTS else tokens_burst
    burst = f" (at most {at_once} at once)" if kind == KIND_BUCKET else ""
    if short == SHORT_OF_REQUESTS:
        return RequestLimitReached(
            f"The limit of {requests_limit} requests per minute{burst} of {bind.label} is reached{share}: {requests} are "
            f"used; the next one may be sent in {math.ceil(seconds)} s.",
            retry_after_seconds=seconds,
            headers=_headers("requests", requests_limit, 0, seconds),
        )
    left = max((tokens_burst if kind == KIND_BUCKET else tokens_limit) - tokens, 0)
    return TokenLimitReached(
        f"The limit of {tokens_limit} tokens per minute{burst} of {bind.label} is reached{share}: {tokens} are used or "
        f"reserved, this call needs {amount}; it may be sent in {math.ceil(seconds)} s.",
        retry_after_seconds=seconds,
        headers=_headers("tokens", tokens_limit, left, seconds),
    )


def refuse_prompt(label: str, prompt_tokens: int, limit: int) -> TokenLimitReached:
    """Return the error of a prompt that is larger than a limit."""
    return TokenLimitReached(
        f"This prompt has about {prompt_tokens} tokens, more than the {limit} tokens per minute that {label} may use: "
        "it can never be sent under this limit.",
        headers={"x-should-retry": "false"},
    )


def _headers(kind: str, limit: int, left: int, seconds: float) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{kind}": str(limit),
        f"x-ratelimit-remaining-{kind}": str(left),
        f"x-ratelimit-reset-{kind}": f"{math.ceil(seconds)}s",
    }
