"""From limits to the counters of one call, and from what the counters say back to limits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from django.conf import settings

from apps.gateway.choices import LimitScope
from apps.gateway.runtime.refusing import Measure, refuse_prompt
from apps.gateway.runtime.window import (
    KIND_BUCKET,
    KIND_SLOTS,
    KIND_WINDOW,
    SHORT_OF_REQUESTS,
    SHORT_OF_SLOTS,
    SHORT_OF_TOKENS,
    WINDOW_SECONDS,
    Counter,
)
from apps.gateway.selectors.limits import LimitTerms

PREFIX = "portico:limits:"
Answer = list[int]
"""What the script or a local counter says of a call; see limits.lua."""


class Facts(Protocol):
    """What limits need to know of a call."""

    @property
    def model(self) -> str: ...
    @property
    def end_user(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def answer_tokens(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Bind:
    """One counter of one call, with the limit that it belongs to; `label` names whose it is."""

    key: str
    counter: Counter
    label: str
    limit: LimitTerms


def bind_limits(limits: tuple[LimitTerms, ...], facts: Facts, model: str) -> Iterator[Bind]:
    """Give the counters of the limits that apply to a call. Raise TokenLimitReached for a prompt that can never pass."""
    for limit in limits:
        if limit.model and limit.model not in (model, facts.model):
            continue
        if limit.scope == LimitScope.END_USER:
            values: tuple[str, ...] = (facts.end_user,) if facts.end_user else ()
        elif limit.scope == LimitScope.TAG:
            values = facts.tags
        elif limit.scope == LimitScope.MODEL:
            values = (facts.model,) if limit.subject == facts.model else (model,)
        else:
            yield from _counters(limit, PREFIX + limit.id, limit.label, facts)
            continue
        for value in values:
            if limit.subject in ("", value):
                key = f"{PREFIX}{limit.id}:{limit.within}:{hashlib.blake2b(value.encode(), digest_size=12).hexdigest()}"
                yield from _counters(limit, key, f'{limit.label} "{value}"', facts)


def _counters(limit: LimitTerms, key: str, label: str, facts: Facts) -> Iterator[Bind]:
    requests, tokens = limit.requests, limit.tokens
    if requests is not None or tokens is not None:
        most = limit.burst_tokens if limit.is_bucket else tokens
        amount = 0
        if most is not None and tokens is not None:
            if facts.prompt_tokens > most:
                raise refuse_prompt(label, facts.prompt_tokens, most)
            amount = min(facts.prompt_tokens + (facts.answer_tokens or 0), most)
        kind, name = (KIND_BUCKET, key + ":b") if limit.is_bucket else (KIND_WINDOW, key)
        counter = (
            kind,
            -1 if requests is None else requests,
            -1 if tokens is None else tokens,
            limit.burst_requests or -1,
            limit.burst_tokens or -1,
            amount,
        )
        yield Bind(name, counter, label, limit)
    if limit.parallel is not None:
        yield Bind(key + ":p", (KIND_SLOTS, limit.parallel, -1, -1, -1, 0), label, limit)


def share_counter(counter: Counter) -> Counter:
    """Return this process's share of a counter's limits: at least 1, the amount never more than the whole share."""
    kind, amount = counter[0], counter[5]
    shares = [limit if limit < 0 else max(limit // settings.WEB_CONCURRENCY, 1) for limit in counter[1:5]]
    if shares[1] >= 0:
        amount = min(amount, shares[3] if kind == KIND_BUCKET else shares[1])
    return kind, shares[0], shares[1], shares[2], shares[3], amount


def measure_binds(binds: list[Bind], answer: Answer) -> list[Measure]:
    """Return how every limit behind an answer stands."""
    found = []
    for at, bind in enumerate(binds):
        kind, requests_limit, tokens_limit, requests_burst, tokens_burst, _ = bind.counter
        requests, tokens = answer[4 + 2 * at], answer[5 + 2 * at]
        if kind == KIND_SLOTS:
            found.append(Measure(bind.label, SHORT_OF_SLOTS, requests_limit, requests, 0))
            continue
        for short, limit, burst, used in (
            (SHORT_OF_REQUESTS, requests_limit, requests_burst, requests),
            (SHORT_OF_TOKENS, tokens_limit, tokens_burst, tokens),
        ):
            if limit < 0:
                continue
            if kind == KIND_BUCKET:
                found.append(Measure(bind.label, short, burst, used, -(-used * 60 // limit)))
            else:
                # The time until everything is free again: that of the call just let in.
                found.append(Measure(bind.label, short, limit, used, WINDOW_SECONDS))
    return found
