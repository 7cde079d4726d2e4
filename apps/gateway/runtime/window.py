"""The counters of limits.lua in this process's memory: for its own share of the limits while Redis is away.

A counter's terms are `(kind, requests, tokens, burst of requests, burst of tokens, amount)`, -1 for no limit; times are in
microseconds.
"""

from __future__ import annotations

import math
from collections import OrderedDict

WINDOW_SECONDS = 61
"""A bucket of one second stays this long, so that no 60 seconds ever see more than the limit."""
LEASE_SECONDS = 45
"""How long a slot is held that nobody renews: the time after which those of a killed process are free."""
KIND_WINDOW, KIND_BUCKET, KIND_SLOTS = 0, 1, 2
FITS, SHORT_OF_REQUESTS, SHORT_OF_TOKENS, SHORT_OF_SLOTS = 0, 1, 2, 3

Counter = tuple[int, int, int, int, int, int]
Look = tuple[int, int, float, float]
"""Short of what, milliseconds until there is room, requests (or slots) and tokens in use."""


class LocalWindow:
    """Requests and tokens over the last minute, in buckets of a second."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[int, list[int]] = OrderedDict()
        self.requests = 0
        self.tokens = 0

    def look(self, micros: int, counter: Counter) -> Look:
        """Tell whether a call fits."""
        self._roll(micros)
        _, requests_limit, tokens_limit, _, _, amount = counter
        if requests_limit >= 0 and self.requests + 1 > requests_limit:
            wait = self._wait_for(0, self.requests + 1 - requests_limit, micros)
            return SHORT_OF_REQUESTS, wait, self.requests, self.tokens
        if tokens_limit >= 0 and self.tokens + amount > tokens_limit:
            wait = self._wait_for(1, self.tokens + amount - tokens_limit, micros)
            return SHORT_OF_TOKENS, wait, self.requests, self.tokens
        return FITS, 0, self.requests, self.tokens

    def take(self, micros: int, counter: Counter, slot: str) -> tuple[float, float]:
        """Count a call; return requests and tokens in use."""
        bucket = self._buckets.setdefault(micros // 1_000_000, [0, 0])
        bucket[0] += 1
        bucket[1] += counter[5]
        self.requests += 1
        self.tokens += counter[5]
        return self.requests, self.tokens

    def settle(self, micros: int, counter: Counter, slot: str, second: int) -> None:
        """Correct the tokens of a call that was admitted in `second`."""
        self._roll(micros)
        bucket = self._buckets.get(second)
        if bucket is not None:
            bucket[1] += counter[5]
            self.tokens += counter[5]

    def _roll(self, micros: int) -> None:
        edge = micros // 1_000_000 - WINDOW_SECONDS
        while self._buckets and next(iter(self._buckets)) <= edge:
            _, (requests, tokens) = self._buckets.popitem(last=False)
            self.requests -= requests
            self.tokens -= tokens

    def _wait_for(self, kind: int, needed: int, micros: int) -> int:
        freed = 0
        for second, counts in self._buckets.items():
            freed += counts[kind]
            if freed >= needed:
                return (second + WINDOW_SECONDS) * 1000 - micros // 1000
        return WINDOW_SECONDS * 1000


class LocalBucket:
    """What is in a bucket that leaks its limit a minute (a token bucket, seen from below)."""

    def __init__(self) -> None:
        self._at: int | None = None
        self.requests = 0.0
        self.tokens = 0.0

    def look(self, micros: int, counter: Counter) -> Look:
        """Tell whether a call fits."""
        requests, tokens = self._leak(micros, counter)
        _, requests_limit, tokens_limit, requests_burst, tokens_burst, amount = counter
        if requests_limit >= 0 and requests + 1 > requests_burst:
            wait = math.ceil((requests + 1 - requests_burst) / requests_limit * 60000)
            return SHORT_OF_REQUESTS, wait, requests, tokens
        if tokens_limit >= 0 and tokens + amount > tokens_burst:
            wait = math.ceil((tokens + amount - tokens_burst) / tokens_limit * 60000)
            return SHORT_OF_TOKENS, wait, requests, tokens
        return FITS, 0, requests, tokens

    def take(self, micros: int, counter: Counter, slot: str) -> tuple[float, float]:
        """Count a call; return requests and tokens in use."""
        requests, tokens = self._leak(micros, counter)
        self.requests, self.tokens, self._at = requests + 1, tokens + counter[5], micros
        return self.requests, self.tokens

    def settle(self, micros: int, counter: Counter, slot: str, second: int) -> None:
        """Correct the tokens of a call."""
        if self._at is not None:
            self.requests, tokens = self._leak(micros, counter)
            self.tokens, self._at = max(tokens + counter[5], 0.0), micros

    def _leak(self, micros: int, counter: Counter) -> tuple[float, float]:
        minutes = 0.0 if self._at is None else max(micros - self._at, 0) / 60_000_000
        return (
            max(self.requests - minutes * max(counter[1], 0), 0.0),
            max(self.tokens - minutes * max(counter[2], 0), 0.0),
        )


class LocalSlots:
    """Calls that are running now; no lease is needed, because they end with the process."""

    def __init__(self) -> None:
        self._slots: set[str] = set()

    def look(self, micros: int, counter: Counter) -> Look:
        """Tell whether a call fits."""
        calls = len(self._slots)
        return (FITS if calls < counter[1] else SHORT_OF_SLOTS), 0, calls, 0

    def take(self, micros: int, counter: Counter, slot: str) -> tuple[float, float]:
        """Give a call its slot; return slots in use."""
        self._slots.add(slot)
        return len(self._slots), 0

    def settle(self, micros: int, counter: Counter, slot: str, second: int) -> None:
        """Free the slot of a call."""
        self._slots.discard(slot)


LocalCounter = LocalWindow | LocalBucket | LocalSlots
LOCAL: dict[int, type[LocalWindow] | type[LocalBucket] | type[LocalSlots]] = {
    KIND_WINDOW: LocalWindow,
    KIND_BUCKET: LocalBucket,
    KIND_SLOTS: LocalSlots,
}


def ask_counters(found: list[tuple[LocalCounter, Counter]], *, micros: int, slot: str, takes: bool) -> list[int]:
    """Admit a call by all of its counters or by none, or (`takes` false) only ask; return what limits.lua answers."""
    looks = [counter.look(micros, terms) for counter, terms in found]
    refused, short, wait = 0, FITS, 0
    for number, look in enumerate(looks, start=1):
        if look[0] != FITS and (not refused or look[1] > wait):
            refused, short, wait = number, look[0], look[1]
    answer = [refused, short, wait, micros // 1_000_000]
    for (counter, terms), look in zip(found, looks, strict=True):
        used = counter.take(micros, terms, slot) if takes and not refused else look[2:]
        answer += (math.ceil(used[0]), math.ceil(used[1]))
    return answer
