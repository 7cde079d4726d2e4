"""What a sink's journal must show after senders were killed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from standardwebhooks import Webhook

from tests.support.sink import Received


@dataclass(frozen=True)
class Journal:
    """`ids` received at least once; `doubled` extra arrivals; `misordered` and `overlapping` pairs of arrivals."""

    ids: set[str]
    doubled: int
    misordered: list[tuple[Any, Any]]
    overlapping: list[tuple[Any, Any]]


def read_journal(received: list[Received], *, secret: str) -> Journal:
    """Verify every signature and return what the journal shows, per lantern and by time of arrival."""
    by_lantern: dict[str, list[tuple[Received, int]]] = defaultdict(list)
    ids: list[str] = []
    for request in sorted(received, key=lambda request: request.started):
        data = Webhook(secret).verify(request.body, request.headers)["data"]
        ids.append(request.headers["webhook-id"])
        by_lantern[data["aggregate"]["id"]].append((request, data["brightness"]))
    misordered, overlapping = [], []
    for arrivals in by_lantern.values():
        for (earlier, low), (later, high) in pairwise(arrivals):
            if high < low:
                misordered.append((low, high))
            if later.started < earlier.ended:
                overlapping.append((low, high))
    return Journal(set(ids), len(ids) - len(set(ids)), misordered, overlapping)
