"""The campaign's checker: both journals against the exported books, by arithmetic of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.chaos.callers import Callers
from tests.chaos.moods import FINE, MoodyUpstream

# Micro-USD per token of gpt-4o-mini, as OpenAI lists it: 0.15 and 0.60 USD per million.
INPUT, OUTPUT = Fraction(15, 100), Fraction(60, 100)


@dataclass
class Judgement:
    """What does not add up. All lists are empty when everything does."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    overspent_micros: int = 0
    spent_micros: int = 0

    def __str__(self) -> str:
        return (
            f"lost {len(self.lost)} doubled {len(self.doubled)} invented {len(self.invented)} "
            f"overspent {self.overspent_micros}"
        )

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.invented or self.overspent_micros)


def judge(records: list[dict[str, Any]], callers: Callers, upstream: MoodyUpstream, *, cap_micros: int) -> Judgement:
    """Compare.

    Lost: a call that was acknowledged, or that reached the upstream, has no record. Doubled: it has two. Invented: a
    success that the upstream never finished, tokens that it never told, more than it ever wrote, or a wrong cost.
    Overspent: the sum of all costs passes the cap.
    """
    counted = Counter(record["request_id"] for record in records)
    found = Judgement(
        lost=sorted((set(callers.acknowledged) | set(upstream.attempts)) - set(counted)),
        doubled=sorted(name for name, times in counted.items() if times > 1),
        spent_micros=sum(record["cost_micros"] for record in records),
    )
    for record in records:
        if complaint := _complain(record, callers, upstream):
            found.invented.append(f"{record['request_id']}: {complaint}")
    found.overspent_micros = max(0, found.spent_micros - cap_micros)
    return found


def _complain(record: dict[str, Any], callers: Callers, upstream: MoodyUpstream) -> str:
    name, status = record["request_id"], record["status"]
    attempts = upstream.attempts.get(name, [])
    tokens = record["prompt_tokens"], record["completion_tokens"]
    exact = tokens[0] * INPUT + tokens[1] * OUTPUT
    if record["cost_micros"] != round(exact):
        return f"costs {record['cost_micros']}, not {exact}"
    if name in callers.acknowledged and status != "ok":
        return f"was acknowledged, but is recorded as {status}"
    if status == "ok":
        if not attempts or attempts[-1].mood not in FINE:
            return f"succeeded, but the upstream's last attempts were {attempts[-2:]}"
        told = attempts[-1].told
        if told is not None and (tokens != told or record["estimated"]):
            return f"is recorded with {tokens}, the upstream told {told}"
        if told is None and not record["estimated"]:
            return "has exact usage of which the upstream told nothing"
    written = max((attempt.pieces for attempt in attempts), default=0)
    if status in {"cancelled", "interrupted"} and tokens[1] > 2 * written + 2:
        return f"is {status} with {tokens[1]} tokens of {written} pieces"
    return ""
