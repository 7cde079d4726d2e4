"""Usage is summed from the hours, for those who may see it, in a constant number of statements."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from apps.billing.selectors import UsageTotals, usage_of_model, usage_series, usage_summary
from apps.billing.selectors.usage import current_period
from apps.billing.services.recording import UsageEntry, record_usage
from apps.core.actor import Actor, system_actor
from apps.core.ids import encode_id, uuid7
from apps.users.models import Membership
from tests.factories.billing import make_entry
from tests.factories.users import ApiKeyFactory, MembershipFactory

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 20, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def of(member: Membership, **changes: object) -> UsageEntry:
    return make_entry(
        **{"organization_id": member.organization_id, "user_id": member.user_id, "api_key_id": None, **changes}
    )


def summary(actor: Actor, **changes: object):
    return usage_summary(**{"actor": actor, "since": START, "until": START + DAY, **changes})


@pytest.fixture
def boss(actor: Actor) -> Actor:
    return Actor(kind=actor.kind, organization_id=actor.organization_id, user_id=uuid7(), role="admin")


def test_totals_hold_sums_and_means(actor: Actor, member: Membership) -> None:
    record_usage([of(member), of(member, status="error", latency_ms=401, first_token_ms=None)])
    totals = summary(actor).totals
    assert totals == UsageTotals(
        requests=2, errors=1, prompt_tokens=200, completion_tokens=40, cached_tokens=20, cost_micros=54,
        latency_ms=600, first_token_ms=200,
    )  # fmt: skip
    assert (totals.total_tokens, totals.cost) == (240, Decimal("0.000054"))


def test_members_see_their_own_administrators_all_of_the_organization(
    actor: Actor, member: Membership, boss: Actor
) -> None:
    colleague = MembershipFactory(organization=member.organization)
    record_usage([of(member), of(colleague), of(member, user_id=None), of(MembershipFactory())])
    assert summary(actor).totals.requests == 1
    assert summary(boss).totals.requests == 3
    assert summary(system_actor()).totals.requests == 4
    assert summary(Actor(kind=actor.kind, organization_id=actor.organization_id, role="member")).totals.requests == 0
    assert summary(Actor(kind=actor.kind, user_id=actor.user_id)).totals.requests == 0


def test_the_period_is_half_open_and_widened_to_whole_hours(actor: Actor, member: Membership) -> None:
    hours = [START - timedelta(seconds=1), START, START + timedelta(hours=1), START + timedelta(hours=2)]
    record_usage([of(member, created_at=at) for at in hours])
    found = summary(actor, since=START + timedelta(minutes=59), until=START + timedelta(minutes=61))
    assert (found.since, found.until, found.totals.requests) == (START, START + timedelta(hours=2), 2)
    assert summary(actor, until=START + timedelta(hours=1)).totals.requests == 1


def test_other_currencies_are_asked_for_by_name(actor: Actor, member: Membership) -> None:
    record_usage([of(member), of(member, currency="EUR", cost_micros=5)])
    assert (summary(actor).totals.cost_micros, summary(actor, currency="EUR").totals.cost_micros) == (27, 5)


def test_models_come_by_falling_cost(actor: Actor, member: Membership) -> None:
    record_usage(
        [of(member, model="cheap", cost_micros=1), of(member, model="dear"), of(member, model="also", cost_micros=1)]
    )
    lines = summary(actor, group="model").lines
    assert [(line.key, line.label, line.totals.cost_micros) for line in lines] == [
        ("dear", "dear", 27), ("also", "also", 1), ("cheap", "cheap", 1),
    ]  # fmt: skip


def test_keys_and_users_carry_names_as_long_as_they_exist(boss: Actor, member: Membership) -> None:
    key = ApiKeyFactory(membership=member, name="ci")
    gone = uuid7()
    record_usage(
        [
            of(member, api_key_id=key.id),
            of(member, api_key_id=gone, cost_micros=5),
            of(member, user_id=None, cost_micros=1),
        ]
    )
    assert [(line.key, line.label) for line in summary(boss, group="key").lines] == [
        (key.public_id, f"ci ({key.prefix}…)"), (encode_id("key", gone), ""), (None, ""),
    ]  # fmt: skip
    assert [(line.key, line.label, line.totals.requests) for line in summary(boss, group="user").lines] == [
        (member.user.public_id, member.user.email, 2), (None, "", 1),
    ]  # fmt: skip


def test_days_come_in_order(actor: Actor, member: Membership) -> None:
    record_usage([of(member, created_at=START + n * DAY, cost_micros=n) for n in (2, 0, 1, 1)])
    lines = summary(actor, group="day", until=START + 3 * DAY).lines
    assert [(line.key, line.totals.requests) for line in lines] == [
        ("2026-11-20", 1), ("2026-11-21", 2), ("2026-11-22", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("group", "statements"), [(None, 1), ("model", 2), ("day", 2), ("key", 3), ("user", 3)])
def test_the_number_of_statements_does_not_grow(
    actor: Actor, member: Membership, group: str | None, statements: int, django_assert_num_queries: Callable
) -> None:
    record_usage(
        [of(member, model=f"m{n}", api_key_id=uuid7(), created_at=START + n * timedelta(hours=1)) for n in range(30)]
    )
    with django_assert_num_queries(statements):
        summary(actor, group=group)


def test_a_series_has_no_gaps(actor: Actor, member: Membership) -> None:
    record_usage([of(member), of(member, created_at=START + timedelta(hours=2))])
    hours = usage_series(START + timedelta(minutes=5), START + timedelta(hours=3), "hour", actor=actor)
    assert [(point.at, point.totals.requests) for point in hours] == [
        (START, 1), (START + timedelta(hours=1), 0), (START + timedelta(hours=2), 1),
    ]  # fmt: skip
    days = usage_series(START - DAY, START + timedelta(minutes=1), "day", actor=actor)
    assert [(point.at.isoformat(), point.totals.requests) for point in days] == [
        ("2026-11-19T00:00:00+00:00", 0), ("2026-11-20T00:00:00+00:00", 1),
    ]  # fmt: skip


def test_one_model_of_many(actor: Actor, member: Membership) -> None:
    record_usage([of(member), of(member, model="other")])
    assert usage_of_model("other", actor=actor, since=START, until=START + DAY).requests == 1
    assert usage_of_model("none", actor=actor, since=START, until=START + DAY) == UsageTotals()


def test_the_current_period_begins_with_the_month_of_utc() -> None:
    moment = datetime(2026, 12, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert current_period(moment) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert current_period()[1] > datetime.now(UTC) - timedelta(seconds=1)
