"""Budgets begin with what was spent, change for the next call, tell of themselves once, and are proved."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from threading import Barrier
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.utils import timezone
from redis.exceptions import RedisError
from rest_framework.test import APIClient

from apps.billing.errors import BudgetInvalid, TooManyBudgets
from apps.billing.models import Budget, BudgetAlert, BudgetPeriod
from apps.billing.selectors.budget_check import check_budgets
from apps.billing.selectors.budgets import budgets_visible_to, describe_budgets
from apps.billing.selectors.forecasting import Forecast, extrapolate, forecast_cost, forecast_period
from apps.billing.services import alerts
from apps.billing.services import budgets as budgets_module
from apps.billing.services.alerts import evaluate_budgets
from apps.billing.services.budgets import BUDGETS_CHANNEL, create_budget, delete_budget, update_budget
from apps.billing.services.recording import record_usage
from apps.core.actor import ANONYMOUS, Actor, ActorKind, system_actor
from apps.core.errors import NotFound, PreconditionFailed
from apps.core.redis import get_redis
from apps.events.models import Event
from apps.users.models import Membership, Team
from tests.factories.billing import BudgetFactory, make_entry
from tests.factories.users import ApiKeyFactory, MembershipFactory

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def admin(db: None) -> Membership:
    return MembershipFactory(role="admin")


def acting(membership: Membership) -> Actor:
    return Actor(
        kind=ActorKind.USER, user_id=membership.user_id, organization_id=membership.organization_id, role=membership.role,
        scopes=frozenset({"*"}),
    )  # fmt: skip


def create(admin: Membership, **fields) -> Budget:
    defaults = {"name": "Month", "scope": "organization", "window": "month", "hard_micros": 1000}
    return create_budget(actor=acting(admin), organization_id=admin.organization_id, **(defaults | fields))


def spend(admin: Membership, micros: int, **fields) -> None:
    fields = {"created_at": timezone.now(), "organization_id": admin.organization_id} | fields
    record_usage([make_entry(cost_micros=micros, **fields)])


def facts(*types: str) -> list[dict]:
    return list(Event.objects.filter(type__in=types).order_by("id").values_list("payload", flat=True))


@pytest.mark.parametrize(
    ("fields", "spent"),
    [
        ({}, {"": 31}),
        ({"window": "total"}, {"": 1031}),
        ({"scope": "user"}, {"user": 31}),
        ({"scope": "end_user"}, {"eve": 11, "bob": 20}),
        ({"scope": "tag", "subject": "a"}, {"a": 20}),
        ({"scope": "model", "subject": "gpt-4o-mini"}, {"gpt-4o-mini": 20}),
        ({"model": "other"}, {"": 11}),
    ],
)
def test_a_budget_begins_with_what_was_spent_in_its_window(admin: Membership, fields: dict, spent: dict) -> None:
    spend(admin, 11, end_user="eve", model="other", user_id=admin.user_id)
    spend(admin, 20, end_user="bob", tags=("a",), user_id=admin.user_id)
    spend(admin, 1000, created_at=timezone.now() - timedelta(days=70), user_id=None)
    spend(admin, 7, organization_id=uuid4())
    budget = create(admin, **fields)
    named = {str(admin.user_id): "user"}
    periods = {named.get(p.subject, p.subject): p.spent_micros for p in budget.periods.all()}
    assert periods == spent
    assert check_budgets().findings == []


@pytest.mark.django_db(transaction=True)
def test_a_budget_that_begins_while_calls_are_recorded_counts_each_of_them_once(admin: Membership) -> None:
    together = Barrier(4)

    def record(number: int) -> None:
        try:
            together.wait(timeout=30)
            for _ in range(15):
                spend(admin, 3)
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=3) as pool:
        running = [pool.submit(record, number) for number in range(3)]
        together.wait(timeout=30)
        budgets = [create(admin, name=str(number)) for number in range(4)]
        delete_budget(actor=acting(admin), budget_id=budgets.pop().id)
        for future in running:
            future.result(timeout=30)
    assert [budget.periods.get().spent_micros for budget in budgets] == [135, 135, 135]


def test_beginning_changing_and_ending_are_told(admin: Membership) -> None:
    channel = get_redis().pubsub()
    channel.subscribe(BUDGETS_CHANNEL)
    budget = create(admin)
    until = timezone.now() + timedelta(days=1)
    changed = update_budget(
        actor=acting(admin), budget_id=budget.id, changes={"boost_micros": 5, "boost_until": until}, expected_version=1
    )
    same = update_budget(actor=acting(admin), budget_id=budget.id, changes={"boost_micros": 5})
    assert (changed.version, same.version) == (2, 2)
    assert (same.hard_at(timezone.now()), same.hard_at(until)) == (1005, 1000)
    delete_budget(actor=acting(admin), budget_id=budget.id, expected_version=2)
    assert not Budget.objects.exists()
    created, updated, deleted = facts("budget.created", "budget.changed", "budget.deleted")
    assert created["hard_micros"] == 1000
    assert (updated["changed"], updated["boost_micros"]) == (["boost_micros", "boost_until"], 5)
    assert deleted == {}


@pytest.mark.django_db(transaction=True)
def test_processes_hear_of_changes_and_a_silent_redis_stops_none(
    admin: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = get_redis().pubsub(ignore_subscribe_messages=True)
    channel.subscribe(BUDGETS_CHANNEL)
    channel.get_message(timeout=5)
    budget = create(admin)
    message = channel.get_message(timeout=5)
    assert json.loads(message["data"]) == {"budget": str(budget.id)}

    class Silent:
        def publish(self, *args: object) -> None:
            raise RedisError("away")

    monkeypatch.setattr(budgets_module, "get_redis", Silent)
    update_budget(actor=acting(admin), budget_id=budget.id, changes={"name": "Other"})
    assert Budget.objects.get().name == "Other"


@pytest.mark.parametrize(
    "fields",
    [
        {"hard_micros": None},
        {"soft_micros": 2000},
        {"boost_micros": 5},
        {"scope": "key", "subject": "no id"},
        {"scope": "key", "subject": str(uuid4())},
        {"scope": "user", "subject": str(uuid4())},
        {"scope": "team", "subject": str(uuid4())},
        {"subject": "x"},
        {"scope": "model"},
        {"window": "year"},
    ],
    ids="-".join,
)
def test_a_budget_that_makes_no_sense_is_refused(admin: Membership, fields: dict) -> None:
    with pytest.raises(BudgetInvalid):
        create(admin, **fields)
    assert not Budget.objects.exists()


def test_what_a_budget_counts_cannot_be_changed(admin: Membership) -> None:
    budget = create(admin)
    with pytest.raises(BudgetInvalid, match="window"):
        update_budget(actor=acting(admin), budget_id=budget.id, changes={"window": "day"})
    with pytest.raises(PreconditionFailed):
        update_budget(actor=acting(admin), budget_id=budget.id, changes={"name": "x"}, expected_version=7)


def test_budgets_of_others_are_not_there(admin: Membership) -> None:
    budget = create(admin)
    for actor in (acting(MembershipFactory(role="admin")), ANONYMOUS):
        with pytest.raises(NotFound):
            delete_budget(actor=actor, budget_id=budget.id)
    assert budgets_visible_to(system_actor()).get() == budget


def test_an_organization_has_so_many_budgets_at_the_most(admin: Membership, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets_module, "MAX_BUDGETS", 1)
    create(admin)
    with pytest.raises(TooManyBudgets):
        create(admin)


def test_members_see_the_budgets_that_bind_them(admin: Membership) -> None:
    organization = admin.organization
    team = Team.objects.create(organization=organization, name="A", slug="a")
    member = MembershipFactory(organization=organization, team=team)
    key = ApiKeyFactory(membership=member)
    mine = [
        create(admin, name="all"),
        create(admin, scope="user", subject=str(member.user_id)),
        create(admin, scope="user"),
        create(admin, scope="key", subject=str(key.id)),
        create(admin, scope="team", subject=str(team.id)),
        create(admin, scope="tag"),
    ]
    theirs = create(admin, scope="user", subject=str(admin.user_id))
    spend(admin, 5, user_id=admin.user_id)
    spend(admin, 7, user_id=member.user_id, team_id=team.id)
    assert set(budgets_visible_to(acting(member))) == set(mine)
    assert set(budgets_visible_to(acting(admin))) == {*mine, theirs}
    seen = {s.subject: s.spent_micros for s in describe_budgets(mine, actor=acting(member))[2].spendings}
    assert list(seen.values()) == [7]
    everybody = describe_budgets(mine, actor=acting(admin))[2].spendings
    assert [spending.spent_micros for spending in everybody] == [7, 5]
    nobody = Actor(kind=ActorKind.OAUTH_CLIENT, organization_id=organization.id)
    assert set(budgets_visible_to(nobody)) == {mine[0], mine[5]}


def test_a_team_counts_what_the_teams_within_it_spend(admin: Membership) -> None:
    outer = Team.objects.create(organization=admin.organization, name="A", slug="a")
    inner = Team.objects.create(organization=admin.organization, name="B", slug="b", parent=outer)
    budget = create(admin, scope="team", subject=str(outer.id))
    spend(admin, 5, team_id=inner.id)
    spend(admin, 7, team_id=outer.id)
    spend(admin, 9, team_id=uuid4())
    assert budget.periods.get().spent_micros == 12
    assert check_budgets().is_clean


def test_alerts_come_once_per_threshold(admin: Membership) -> None:
    budget = create(admin, soft_micros=900)
    create(admin, is_active=False)
    assert evaluate_budgets() == 0
    spend(admin, 500)
    assert [evaluate_budgets(), evaluate_budgets()] == [1, 0]
    spend(admin, 480)
    spend(admin, 20)
    assert evaluate_budgets() == 3
    told = facts("budget.threshold_reached")
    assert [(fact["kind"], fact["percent"], fact["limit_micros"]) for fact in told] == [
        ("hard", 50, 1000), ("hard", 80, 1000), ("hard", 100, 1000), ("soft", 100, 900),
    ]  # fmt: skip
    assert {fact["subject_id"] for fact in told} == {None}
    assert Event.objects.filter(type="budget.threshold_reached", aggregate_id=budget.id).count() == 4


def test_a_soft_limit_alone_is_told_of_in_parts(admin: Membership) -> None:
    create(admin, scope="user", hard_micros=None, soft_micros=100)
    spend(admin, 85, user_id=admin.user_id)
    evaluate_budgets()
    told = facts("budget.threshold_reached")
    assert [(fact["kind"], fact["percent"], fact["subject_id"]) for fact in told] == [
        ("soft", 50, str(admin.user_id)), ("soft", 80, str(admin.user_id)),
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_two_who_evaluate_at_once_tell_once(admin: Membership) -> None:
    create(admin)
    spend(admin, 1000)
    together = Barrier(3)

    def evaluate(number: int) -> int:
        try:
            together.wait(timeout=30)
            return evaluate_budgets()
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=3) as pool:
        assert sum(pool.map(evaluate, range(3))) == 3
    assert len(facts("budget.threshold_reached")) == BudgetAlert.objects.count() == 3


def test_a_period_that_ends_while_it_is_looked_at_is_left_alone(
    admin: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "_changed_after", lambda last, now: [] if last else [1])
    assert evaluate_budgets() == 0


def test_an_overrun_is_told_when_both_paces_lead_to_it(admin: Membership) -> None:
    budget = create(admin, hard_micros=1000)
    spend(admin, 700, created_at=NOW)
    BudgetPeriod.objects.update(marked_at=NOW - timedelta(days=2), mark_micros=500)
    assert evaluate_budgets(now=NOW) == 2
    (fact,) = facts("budget.overrun_forecast")
    assert (fact["spent_micros"], fact["limit_micros"]) == (700, 1000)
    assert (fact["low_micros"], fact["expected_micros"], fact["high_micros"]) == (1024, 1337, 1650)
    period = budget.periods.get()
    assert (period.mark_micros, period.marked_at, period.evaluated_micros) == (700, NOW, 700)
    BudgetPeriod.objects.update(evaluated_micros=0)
    assert evaluate_budgets(now=NOW) == 0


@pytest.mark.parametrize(
    ("period", "window", "now"),
    [
        (BudgetPeriod(starts_at=NOW, ends_at=None, spent_micros=5), "total", NOW + timedelta(days=9)),
        (BudgetPeriod(starts_at=NOW, ends_at=NOW + timedelta(days=1), spent_micros=5), "day", NOW + timedelta(hours=1)),
        (BudgetPeriod(starts_at=NOW, ends_at=NOW + timedelta(days=1), spent_micros=5), "day", NOW + timedelta(days=2)),
    ],
    ids=["without an end", "just begun", "over"],
)
def test_nothing_is_foretold_of_a_window_that(period: BudgetPeriod, window: str, now: datetime) -> None:
    assert forecast_period(period, window, now) is None


def test_a_forecast_without_a_recent_pace_goes_by_the_whole_window() -> None:
    period = BudgetPeriod(starts_at=NOW, ends_at=NOW + timedelta(days=1), spent_micros=60)
    assert forecast_period(period, "day", NOW + timedelta(hours=6)) == Forecast(240, 240, 240)


def test_a_month_is_foretold_from_the_days_before() -> None:
    assert extrapolate([100, 100, 100], spent=1000, days_left=10) == Forecast(2000, 2000, 2000)
    assert extrapolate([50, 150], spent=1000, days_left=4) == Forecast(1219, 1400, 1581)
    assert extrapolate([100], spent=1000, days_left=1) == Forecast(1036, 1100, 1164)
    assert extrapolate([0, 300], spent=10, days_left=1).low_micros == 10


def test_an_organization_sees_where_its_month_leads(admin: Membership) -> None:
    for days, micros in ((0, 999), (1, 100), (2, 100), (20, 0)):
        spend(admin, micros, created_at=NOW - timedelta(days=days))
    spend(admin, 5000, organization_id=uuid4(), created_at=NOW)
    found = forecast_cost(organization_id=admin.organization_id, now=NOW)
    assert (found.starts_at, found.ends_at) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert (found.spent_micros, found.currency) == (1199, "USD")
    assert found.forecast == Forecast(1199, 1294, 1416)
    nothing = forecast_cost(organization_id=uuid4(), now=NOW)
    assert nothing.forecast == Forecast(0, 0, 0)


@pytest.mark.parametrize(
    ("damage", "defects"),
    [
        ({"spent_micros": F("spent_micros") + 1}, ["period.spent"]),
        ({"leased_micros": 5}, ["period.leased"]),
        ({"spent_micros": 2000}, ["period.over", "period.spent"]),
    ],
    ids=["a micro-unit too much", "leased by nobody", "over the limit"],
)
def test_the_check_finds_what_is_wrong(admin: Membership, damage: dict, defects: list[str]) -> None:
    budget = create(admin)
    spend(admin, 27)
    BudgetPeriod.objects.update(**damage)
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("budget_check", "--json", stdout=out)
    found = json.loads(out.getvalue())
    assert (ended.value.code, found["ok"]) == (1, False)
    assert [finding["defect"] for finding in found["findings"]] == defects
    assert {finding["subject"] for finding in found["findings"]} == {budget.public_id}
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("budget_check", stdout=out)
    assert f"{len(defects)} defects: 1 budgets" in out.getvalue()


def test_the_check_says_so_when_all_is_well(admin: Membership) -> None:
    create(admin)
    spend(admin, 27)
    out = StringIO()
    call_command("budget_check", stdout=out)
    assert out.getvalue() == (
        "the budgets hold: 1 budgets, 1 periods, 0 leases, 0 holders, 27 spent_micros, 0 leased_micros\n"
    )


# REST

BODY = {"name": "Mine", "scope": "user", "subject": "", "window": "day", "hard_micros": 500, "soft_micros": 400}


@pytest.fixture
def boss(admin: Membership, api_as: Callable[[Membership], APIClient]) -> APIClient:
    return api_as(admin)


def test_a_budget_is_made_read_changed_and_deleted(boss: APIClient, admin: Membership) -> None:
    made = boss.post("/api/v3/billing/budgets", BODY | {"subject": admin.user.public_id}, format="json")
    assert made.status_code == 201
    assert made.json()["subject"] == made.json()["spending"][0]["subject"] == admin.user.public_id
    spend(admin, 100, user_id=admin.user_id)
    path = f"/api/v3/billing/budgets/{made.json()['id']}"
    read = boss.get(path)
    assert read.headers["ETag"] == made.headers["ETag"]
    (spending,) = read.json()["spending"]
    assert (spending["spent_micros"], spending["left_micros"], spending["percent"]) == (100, 400, 20)
    assert boss.get("/api/v3/billing/budgets").json()["items"] == [read.json()]
    assert boss.patch(path, {"hard_micros": 800}, format="json", headers={"If-Match": '"9"'}).status_code == 412
    changed = boss.patch(path, {"hard_micros": 800}, format="json", headers={"If-Match": read.headers["ETag"]})
    assert (changed.status_code, changed.json()["limit_micros"], changed.json()["version"]) == (200, 800, 2)
    assert boss.delete(path).status_code == 204
    assert boss.get(path).status_code == 404


@pytest.mark.parametrize("subject", ["nobody", "key_01kahbyq3wfd0s5g7h9j1k2m3n"])
def test_a_subject_that_is_none_is_refused(boss: APIClient, subject: str) -> None:
    answer = boss.post("/api/v3/billing/budgets", BODY | {"subject": subject}, format="json")
    assert answer.status_code == 400
    assert not Budget.objects.exists()


def test_members_read_and_do_not_write(admin: Membership, api_as: Callable[[Membership], APIClient]) -> None:
    budget = create(admin)
    member = api_as(MembershipFactory(organization=admin.organization))
    path = f"/api/v3/billing/budgets/{budget.public_id}"
    assert member.get(path).status_code == 200
    assert member.post("/api/v3/billing/budgets", BODY, format="json").status_code == 403
    assert member.patch(path, {"name": "x"}, format="json").status_code == 403
    assert member.delete(path).status_code == 403
    assert member.get("/api/v3/billing/forecast").status_code == 403
    stranger = api_as(MembershipFactory(role="admin"))
    assert [stranger.get(p).status_code for p in (path, "/api/v3/billing/budgets/x")] == [404, 404]


def test_the_forecast_is_told(boss: APIClient, admin: Membership) -> None:
    spend(admin, 100)
    answer = boss.get("/api/v3/billing/forecast").json()
    assert answer["spent_micros"] == 100
    assert answer["forecast"]["low_micros"] <= answer["forecast"]["expected_micros"]


def test_a_page_of_budgets_takes_as_many_queries_as_one(
    boss: APIClient, admin: Membership, django_assert_max_num_queries: Callable
) -> None:
    for _ in range(5):
        BudgetFactory(organization_id=admin.organization_id)
    with django_assert_max_num_queries(8):
        assert len(boss.get("/api/v3/billing/budgets").json()["items"]) == 5
