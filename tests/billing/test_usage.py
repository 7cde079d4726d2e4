"""Usage is summed from the hours, for those who may see it, in a constant number of statements."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from apps.billing.selectors import UsageQuery, UsageSummary, UsageTotals, usage_of_model, usage_series, usage_summary
from apps.billing.selectors.usage import current_period, iterate_usage
from apps.billing.services.recording import UsageEntry, record_usage
from apps.billing.services.repricing import Scope, reprice_usage
from apps.core.actor import Actor, system_actor
from apps.core.ids import encode_id, uuid7
from apps.users.models import Membership
from tests.factories.billing import PriceFactory, make_entry
from tests.factories.users import ApiKeyFactory, MembershipFactory, TeamFactory

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 20, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def of(member: Membership, **changes: object) -> UsageEntry:
    return make_entry(
        **{"organization_id": member.organization_id, "user_id": member.user_id, "api_key_id": None, **changes}
    )


def summary(actor: Actor, *group_by: str, **changes: object) -> UsageSummary:
    return usage_summary(
        UsageQuery(**{"since": START, "until": START + DAY, "group_by": group_by, **changes}), actor=actor
    )


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
    lines = summary(actor, "model").lines
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
    assert [(line.key, line.label) for line in summary(boss, "key").lines] == [
        (key.public_id, f"ci ({key.prefix}…)"), (encode_id("key", gone), ""), (None, ""),
    ]  # fmt: skip
    assert [(line.key, line.label, line.totals.requests) for line in summary(boss, "user").lines] == [
        (member.user.public_id, member.user.email, 2), (None, "", 1),
    ]  # fmt: skip


def test_days_come_in_order(actor: Actor, member: Membership) -> None:
    record_usage([of(member, created_at=START + n * DAY, cost_micros=n) for n in (2, 0, 1, 1)])
    lines = summary(actor, "day", until=START + 3 * DAY).lines
    assert [(line.key, line.totals.requests) for line in lines] == [
        ("2026-11-20", 1), ("2026-11-21", 2), ("2026-11-22", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("group", "statements"),
    [
        ((), 1),
        (("model",), 2),
        (("day",), 2),
        (("key",), 3),
        (("user",), 3),
        (("team",), 3),
        (("endpoint", "hour"), 2),
        (("key", "user", "team"), 5),
        (("tag",), 2),
        (("end_user", "key"), 3),
        (("status", "day", "model"), 2),
    ],
)
def test_the_number_of_statements_does_not_grow(
    actor: Actor, member: Membership, group: tuple[str, ...], statements: int, django_assert_num_queries: Callable
) -> None:
    record_usage(
        [
            of(member, model=f"m{n}", api_key_id=uuid7(), team_id=uuid7(), created_at=START + n * timedelta(hours=1))
            for n in range(30)
        ]
    )
    with django_assert_num_queries(statements):
        summary(actor, *group)


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


def found(actor: Actor, *group_by: str, **changes: object) -> list[tuple[object, ...]]:
    lines = summary(actor, *group_by, **changes).lines
    return [(*(value.key for value in line.groups), line.totals.requests) for line in lines]


def test_calls_are_grouped_by_what_the_hours_keep_apart(actor: Actor, member: Membership) -> None:
    team = TeamFactory(organization=member.organization, name="Research")
    record_usage(
        [
            of(member, team_id=team.id, endpoint="messages", provider="anthropic"),
            of(member, created_at=START + timedelta(hours=1), cost_micros=5),
        ]
    )
    assert found(actor, "team") == [(team.public_id, 1), (None, 1)]
    assert [line.label for line in summary(actor, "team").lines] == ["Research", ""]
    assert found(actor, "endpoint") == [("messages", 1), ("chat.completions", 1)]
    assert found(actor, "provider") == [("anthropic", 1), ("openai", 1)]
    assert found(actor, "hour", "endpoint") == [
        ("2026-11-20T10:00:00Z", "messages", 1), ("2026-11-20T11:00:00Z", "chat.completions", 1),
    ]  # fmt: skip


def test_what_the_hours_do_not_keep_apart_comes_from_the_records(actor: Actor, member: Membership) -> None:
    record_usage(
        [
            of(member, tags=("a", "b"), end_user="anna", cost_micros=9),
            of(member, tags=("b",), status="error", cost_micros=5),
            of(member, end_user="ben", cost_micros=3),
            of(MembershipFactory(), tags=("b",)),
        ]
    )
    assert found(actor, "tag") == [("b", 2), ("a", 1), (None, 1)]
    assert found(actor, "end_user") == [("anna", 1), (None, 1), ("ben", 1)]
    assert found(actor, "status", "day") == [("ok", "2026-11-20", 2), ("error", "2026-11-20", 1)]
    assert found(actor, "model", filters={"tag": ["a", "none"]}) == [("gpt-4o-mini", 1)]
    assert found(actor, "model", filters={"end_user": ["ben"], "status": ["ok"]}) == [("gpt-4o-mini", 1)]


def test_hours_and_records_tell_the_same_figures(actor: Actor, member: Membership) -> None:
    PriceFactory(provider="openai", model="gpt-4o-mini-2024-07-18", input_micros=9_000_000)
    record_usage(
        [of(member), of(member, status="interrupted", first_token_ms=None, latency_ms=3), of(member, status="error")]
    )
    scope = Scope(since=START, until=START + DAY)
    assert reprice_usage(scope=scope, actor=system_actor()).total("adjusted") == 3
    hours = summary(actor).totals
    assert hours == summary(actor, filters={"status": ["ok", "interrupted", "error"]}).totals
    assert (hours.cost_micros, hours.errors) == (3 * 823, 2)


@pytest.mark.parametrize(
    ("filters", "requests"),
    [
        ({"model": ["other"]}, 1),
        ({"provider": ["openai"], "endpoint": ["chat.completions", "messages"]}, 2),
        ({"team": [UUID(int=1)]}, 1),
        ({"key": [UUID(int=2)]}, 1),
        ({"user": [UUID(int=3)]}, 0),
        ({"model": ["other"], "team": [UUID(int=1)]}, 0),
    ],
)
def test_only_what_is_asked_for_is_counted(
    actor: Actor, member: Membership, filters: dict[str, list[object]], requests: int
) -> None:
    record_usage([of(member, model="other", api_key_id=UUID(int=2)), of(member, team_id=UUID(int=1))])
    assert summary(actor, filters=filters).totals.requests == requests


def test_groups_beyond_the_most_are_left_out_and_said_to_be(actor: Actor, member: Membership) -> None:
    record_usage([of(member, model=f"m{n}") for n in range(3)])
    query = UsageQuery(since=START, until=START + DAY, group_by=("model",))
    cut, whole = (usage_summary(query, actor=actor, most=most) for most in (2, 3))
    assert ([line.key for line in cut.lines], cut.is_cut, cut.totals.requests) == (["m0", "m1"], True, 3)
    assert (len(whole.lines), whole.is_cut) == (3, False)
    assert [line.key for line in iterate_usage(query, actor=actor)] == ["m0", "m1", "m2"]


def test_a_key_that_belongs_to_nobody_sees_what_was_done_with_it(actor: Actor, member: Membership) -> None:
    record_usage([of(member, api_key_id=UUID(int=2), user_id=None), of(member, user_id=None), of(member)])
    key = Actor(kind=actor.kind, organization_id=actor.organization_id, api_key_id=UUID(int=2), role="member")
    assert summary(key).totals.requests == 1
