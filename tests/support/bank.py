"""Postgres as the lease book sees it: one that leases quota in memory, and can lose an answer or a whole transaction."""

from __future__ import annotations

from collections import defaultdict
from uuid import UUID

from apps.billing.services.leases import HolderGone, Leased, PeriodKey, PeriodState


class Lost(OSError):
    """The answer did not arrive."""


class Bank:
    """Leases like `lease_quota`, with one limit for every period; with `share` 0 never in advance."""

    def __init__(self, limit: int | None, share: int = 32) -> None:
        self.limit = limit
        self.share = share
        self.spent: dict[PeriodKey, int] = defaultdict(int)
        self.leases: dict[tuple[PeriodKey, UUID], list[int]] = {}
        self.transactions = 0
        self.loses: str = ""
        self.gone: set[UUID] = set()

    def leased(self, key: PeriodKey) -> int:
        """Return what all holders have of a period."""
        return sum(lease[0] for (held, _), lease in self.leases.items() if held == key)

    def record(self, key: PeriodKey, holder: UUID, cost: int) -> None:
        """Move the cost of a call as its record does."""
        lease = self.leases[key, holder]
        lease[0] -= min(lease[0], cost)
        self.spent[key] += cost

    def lease(self, *, holder, turn, is_new, asks, wishes, returns, opens=()) -> Leased:
        """Do what `lease_quota` does."""
        self.transactions += 1
        if holder in self.gone:
            raise HolderGone
        if self.loses == "transaction":
            raise Lost
        keys = {key for ask in asks for key, _ in ask.needs} | set(wishes) | set(returns)
        for key in keys:
            self.leases.setdefault((key, holder), [0, 0])
        for key, micros in returns.items():
            lease = self.leases[key, holder]
            lease[0] -= min(lease[0], micros)
            lease[1] -= micros
        refused_by, recalled = [], []
        for ask in asks:
            refusing = next((key for key, micros in ask.needs if micros > self._left(key)), None)
            refused_by.append(refusing)
            if refusing is None:
                for key, micros in ask.needs:
                    self._take(key, holder, micros)
            else:
                recalled.append(1)
        for key, wish in wishes.items():
            part = int(max(min(self._left(key), 10**12), 0)) // self.share if self.share else 0
            self._take(key, holder, min(wish, part))
        if self.loses == "answer":
            raise Lost
        return Leased(refused_by, {key: self._state(key, holder, refused_by) for key in keys}, recalled)

    def _left(self, key: PeriodKey) -> float:
        return float("inf") if self.limit is None else self.limit - self.spent[key] - self.leased(key)

    def _take(self, key: PeriodKey, holder: UUID, micros: int) -> None:
        lease = self.leases[key, holder]
        lease[0] += micros
        lease[1] += micros

    def _state(self, key: PeriodKey, holder: UUID, short: list[PeriodKey | None]) -> PeriodState:
        amount, net = self.leases[key, holder]
        return PeriodState(
            period_id=1,
            lease_id=list(self.leases).index((key, holder)) + 1,
            net_micros=net,
            amount_micros=amount,
            spent_micros=self.spent[key],
            leased_micros=self.leased(key),
            limit_micros=self.limit,
            is_scarce=key in short or self._left(key) < self.share,
        )
