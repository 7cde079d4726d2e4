"""What one call leaves in the journal, as the record that comes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from apps.billing.services.recording import UsageEntry
from apps.core.actor import Actor, ActorKind
from apps.core.ids import uuid7
from apps.gateway.choices import CallStatus
from apps.gateway.providers.base import MAX_COUNT, Completion, Usage
from apps.gateway.runtime.lines import LineReader
from apps.gateway.selectors import Caller
from apps.gateway.selectors.terms import NO_TERMS, Terms
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.meter import Meter
from tests.support.routing import route

FACTS = CallFacts(model="m", end_user="", tags=(), prompt_tokens=10, answer_tokens=None)


class Lines:
    """A journal in memory."""

    def __init__(self) -> None:
        self.written = b""

    def begin(self, line: bytes) -> str:
        self.written += line
        return "the segment"

    def finish(self, segment: str, line: bytes) -> None:
        assert segment == "the segment"
        self.written += line


def record_of(usage: Usage, *, terms: Terms = NO_TERMS, latest_at: float = float("inf")) -> UsageEntry:
    """Return the record of a whole answer with this usage."""
    journal: Any = Lines()
    reservation: Any = SimpleNamespace(latest_at=latest_at, charges=[])
    meter = Meter(
        journal=journal,
        caller=Caller(actor=Actor(kind=ActorKind.USER, organization_id=uuid7()), terms=terms),
        request={},
        request_id=uuid7(),
        endpoint="x",
        is_stream=False,
        facts=FACTS,
        reservation=reservation,
    )
    meter.forward(route("a"), model="m")
    meter.completion, meter.usage = Completion(b"{}", None, usage, "stop", None), usage
    meter.settle(CallStatus.OK, is_final=True)
    [entry] = LineReader().feed(journal.written)
    return entry


def test_a_call_counts_for_its_team_and_tells_what_was_cached_for_an_hour() -> None:
    team = uuid7()
    entry = record_of(
        Usage(10, 5, cache_write_tokens=4, cache_write_1h_tokens=3), terms=Terms(team_id=team, team_ids=(team,))
    )
    assert (entry.team_id, entry.cache_write_tokens, entry.cache_write_1h_tokens) == (team, 4, 3)
    plain = record_of(Usage(10, 5, cache_write_tokens=4))
    assert (plain.team_id, plain.cache_write_tokens, plain.cache_write_1h_tokens) == (None, 4, 0)


def test_counts_beyond_belief_are_cut_to_what_can_be_stored() -> None:
    entry = record_of(Usage(2**64 - 1, 2**70, cached_tokens=2**40, service_tier="flex"))
    assert (entry.prompt_tokens, entry.completion_tokens, entry.cached_tokens) == (MAX_COUNT,) * 3
    assert (entry.status, entry.service_tier) == ("ok", "flex")


def test_a_call_is_priced_in_the_tier_that_served_it() -> None:
    tiers = [record_of(Usage(10, 5, service_tier=tier)).service_tier for tier in ("flex", None)]
    assert tiers == ["flex", "standard"]


def test_a_call_counts_in_the_window_of_the_budget_that_let_it_in() -> None:
    ends = datetime(2026, 1, 1, tzinfo=UTC)
    late = record_of(Usage(10, 5), latest_at=ends.timestamp())
    assert late.created_at == datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    before = datetime.now(UTC)
    in_time = record_of(Usage(10, 5), latest_at=before.timestamp() + 3600)
    assert before <= in_time.created_at <= datetime.now(UTC)
