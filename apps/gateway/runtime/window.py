"""The window of limits.lua in this process's memory: for its own share of the limits while Redis is away."""

from __future__ import annotations

from collections import OrderedDict

WINDOW_SECONDS = 61
"""A bucket of one second stays this long, so that no 60 seconds ever see more than the limit."""


class LocalWindow:
    """Requests and tokens of one key over the last minute, in buckets of a second."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[int, list[int]] = OrderedDict()
        self.requests = 0
        self.tokens = 0

    def admit(
        self, *, now: float, requests_limit: int, tokens_limit: int, tokens: int
    ) -> tuple[int, int, int, int, int]:
        """Return verdict, requests, tokens, milliseconds to wait and the second: what limits.lua returns."""
        self._roll(now)
        second = int(now)
        if requests_limit >= 0 and self.requests + 1 > requests_limit:
            wait = self._wait_for(0, self.requests + 1 - requests_limit, now)
            return 0, self.requests, self.tokens, wait, second
        if tokens_limit >= 0 and self.tokens + tokens > tokens_limit:
            wait = self._wait_for(1, self.tokens + tokens - tokens_limit, now)
            return -1, self.requests, self.tokens, wait, second
        bucket = self._buckets.setdefault(second, [0, 0])
        bucket[0] += 1
        bucket[1] += tokens
        self.requests += 1
        self.tokens += tokens
        return 1, self.requests, self.tokens, 0, second

    def settle(self, *, now: float, second: int, tokens: int) -> None:
        """Correct the tokens of a call that was admitted in `second`."""
        self._roll(now)
        bucket = self._buckets.get(second)
        if bucket is not None:
            bucket[1] += tokens
            self.tokens += tokens

    def _roll(self, now: float) -> None:
        edge = int(now) - WINDOW_SECONDS
        while self._buckets and next(iter(self._buckets)) <= edge:
            _, (requests, tokens) = self._buckets.popitem(last=False)
            self.requests -= requests
            self.tokens -= tokens

    def _wait_for(self, kind: int, needed: int, now: float) -> int:
        freed = 0
        for second, counts in self._buckets.items():
            freed += counts[kind]
            if freed >= needed:
                return int((second + WINDOW_SECONDS - now) * 1000)
        return WINDOW_SECONDS * 1000
