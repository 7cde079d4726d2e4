"""Budgets and the forecast of costs over REST."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.billing.choices import BudgetScope, BudgetWindow
from apps.billing.models import Budget
from apps.billing.selectors.budgets import PREFIXES, budgets_visible_to, describe_budgets
from apps.billing.selectors.forecasting import forecast_cost
from apps.billing.services.budgets import create_budget, delete_budget, update_budget
from apps.core.actor import Actor
from apps.core.api.etag import expected_version
from apps.core.api.views import ListView, View
from apps.core.errors import InvalidInput, NotFound
from apps.core.ids import decode_id
from apps.core.money import DEFAULT_CURRENCY
from apps.events.api.idempotency import idempotent

READ, WRITE = "billing:read", "billing:write"
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="ETag that was read; another version answers 412."
)
MICROS = "In millionths of the currency's unit."
LARGEST = 10**15


class ForecastOutput(serializers.Serializer[Any]):
    """What will have been spent by the end: an interval and its middle."""

    low_micros = serializers.IntegerField(help_text=MICROS)
    expected_micros = serializers.IntegerField(help_text=MICROS)
    high_micros = serializers.IntegerField(help_text=MICROS)


class SpendingOutput(serializers.Serializer[Any]):
    """What one subject spent in the running window."""

    subject = serializers.CharField(help_text="Public id or name; empty for the whole organization.")
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(allow_null=True, help_text="When the budget begins anew; null for never.")
    spent_micros = serializers.IntegerField(help_text=MICROS)
    reserved_micros = serializers.IntegerField(help_text="Held for running calls. " + MICROS)
    left_micros = serializers.IntegerField(help_text="Of the hard limit, or of the soft one. " + MICROS)
    percent = serializers.IntegerField(help_text="Part of the limit that is spent.")
    forecast = ForecastOutput(allow_null=True, help_text="Null for a window that has just begun or never ends.")


class BudgetOutput(serializers.Serializer[Any]):
    """A budget and how it stands."""

    id = serializers.CharField(source="budget.public_id")
    name = serializers.CharField(source="budget.name")
    scope = serializers.ChoiceField(BudgetScope.choices, source="budget.scope")
    subject = serializers.CharField(help_text="Public id or name; empty: each one separately.")
    model = serializers.CharField(source="budget.model", help_text="Only calls of this model; empty: of all.")
    window = serializers.ChoiceField(BudgetWindow.choices, source="budget.window")
    soft_micros = serializers.IntegerField(source="budget.soft_micros", allow_null=True, help_text=MICROS)
    hard_micros = serializers.IntegerField(source="budget.hard_micros", allow_null=True, help_text=MICROS)
    boost_micros = serializers.IntegerField(source="budget.boost_micros", help_text=MICROS)
    boost_until = serializers.DateTimeField(source="budget.boost_until", allow_null=True)
    limit_micros = serializers.IntegerField(help_text="What holds now, with a temporary increase. " + MICROS)
    currency = serializers.CharField(source="budget.currency")
    is_active = serializers.BooleanField(source="budget.is_active")
    version = serializers.IntegerField(source="budget.version")
    created_at = serializers.DateTimeField(source="budget.created_at")
    spending = SpendingOutput(
        many=True, source="spendings", help_text="Of a budget for each one separately the ten that spent most."
    )


class BudgetChangeInput(serializers.Serializer[Any]):
    """What of a budget may change."""

    name = serializers.CharField(max_length=120, required=False)
    soft_micros = serializers.IntegerField(
        min_value=0, max_value=LARGEST, required=False, allow_null=True, help_text="Only told of. " + MICROS
    )
    hard_micros = serializers.IntegerField(
        min_value=0, max_value=LARGEST, required=False, allow_null=True, help_text="Never passed. " + MICROS
    )
    boost_micros = serializers.IntegerField(
        min_value=0, max_value=LARGEST, required=False, help_text="Added to both limits for a while. " + MICROS
    )
    boost_until = serializers.DateTimeField(required=False, allow_null=True, help_text="When the increase ends.")
    is_active = serializers.BooleanField(required=False, help_text="False: counted, but neither enforced nor told of.")


class BudgetInput(BudgetChangeInput):
    """A new budget."""

    name = serializers.CharField(max_length=120)
    scope = serializers.ChoiceField(BudgetScope.choices)
    subject = serializers.CharField(
        max_length=256, default="", allow_blank=True,
        help_text="Public id of a team, user or key; name of an end user, tag or model; empty: each one separately.",
    )  # fmt: skip
    model = serializers.CharField(max_length=200, default="", allow_blank=True, help_text="Only calls of this model.")
    window = serializers.ChoiceField(BudgetWindow.choices)
    currency = serializers.CharField(min_length=3, max_length=3, default=DEFAULT_CURRENCY)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Turn the public id of a subject into the id that usage records have."""
        prefix = PREFIXES.get(attrs["scope"])
        if prefix is not None and attrs["subject"]:
            try:
                attrs["subject"] = str(decode_id(prefix, attrs["subject"]))
            except InvalidInput as error:
                raise serializers.ValidationError({"subject": error.message}) from error
        return attrs | {"currency": attrs["currency"].upper()}


class CostForecastOutput(serializers.Serializer[Any]):
    """What an organization spent this month, and what it will have spent by its end."""

    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    currency = serializers.CharField()
    spent_micros = serializers.IntegerField(help_text=MICROS)
    forecast = ForecastOutput(help_text="Four of five such months end within the interval.")


BUDGET = {
    "id": "bud_01kahbz0g5e2r8v3n6m9q4t7xw",
    "name": "Research, monthly",
    "scope": "team",
    "subject": "team_01kahbyq3wfd0s5g7h9j1k2m3n",
    "model": "",
    "window": "month",
    "soft_micros": 80_000_000,
    "hard_micros": 100_000_000,
    "boost_micros": 0,
    "boost_until": None,
    "limit_micros": 100_000_000,
    "currency": "USD",
    "is_active": True,
    "version": 1,
    "created_at": "2026-11-01T08:00:00Z",
    "spending": [
        {
            "subject": "team_01kahbyq3wfd0s5g7h9j1k2m3n",
            "starts_at": "2026-11-01T00:00:00Z",
            "ends_at": "2026-12-01T00:00:00Z",
            "spent_micros": 42_180_000,
            "reserved_micros": 120_000,
            "left_micros": 57_700_000,
            "percent": 42,
            "forecast": {"low_micros": 60_100_000, "expected_micros": 63_400_000, "high_micros": 66_700_000},
        }
    ],
}
ANSWERED = OpenApiExample("A team's month", value=BUDGET, response_only=True)
ASKED = OpenApiExample(
    "A team's month",
    value={key: BUDGET[key] for key in ("name", "scope", "subject", "window", "soft_micros", "hard_micros")},
    request_only=True,
)
BOOSTED = OpenApiExample(
    "A temporary increase",
    value={"boost_micros": 20_000_000, "boost_until": "2026-12-01T00:00:00Z"},
    request_only=True,
)
FORESEEN = OpenApiExample(
    "This month",
    value={
        "starts_at": "2026-11-01T00:00:00Z",
        "ends_at": "2026-12-01T00:00:00Z",
        "currency": "USD",
        "spent_micros": 42_180_000,
        "forecast": BUDGET["spending"][0]["forecast"],  # type: ignore[index]
    },
    response_only=True,
)


def find_visible(actor: Actor, budget_id: str) -> Budget:
    """Return a budget that the actor may see. Raise NotFound: what is no id is not there either."""
    try:
        found = budgets_visible_to(actor).filter(id=Budget.parse_id(budget_id)).first()
    except InvalidInput as error:
        raise NotFound("There is no such budget.") from error
    if found is None:
        raise NotFound("There is no such budget.")
    return found


def answer(budget: Budget, actor: Actor, *, status: int = 200) -> Response:
    """Return a budget and how it stands, with its ETag."""
    (described,) = describe_budgets([budget], actor=actor)
    return Response(BudgetOutput(described).data, status=status, headers={"ETag": budget.etag})


class BudgetListView(ListView):
    scopes: ClassVar[dict[str, str]] = {"GET": READ, "POST": WRITE}
    roles: ClassVar[dict[str, str]] = {"POST": "admin"}
    serializer_class = BudgetOutput
    queryset = Budget.objects.none()

    def page(self, request: Request, queryset: QuerySet[Budget]) -> Response:
        """Answer one cursor page, each budget with how it stands."""
        rows = self.paginate_queryset(queryset) or []
        return self.get_paginated_response(BudgetOutput(describe_budgets(rows, actor=self.actor), many=True).data)

    @extend_schema(
        operation_id="billing_budgets_list",
        summary="List budgets",
        description="With what is spent, reserved, left and foreseen. Members see those that bind them.",
        examples=[ANSWERED],
    )
    def get(self, request: Request) -> Response:
        return self.page(request, budgets_visible_to(self.actor))

    @extend_schema(
        operation_id="billing_budgets_create",
        summary="Create a budget",
        description="What was spent in the running window already counts. Calls that do not fit are refused with 402.",
        request=BudgetInput,
        responses={201: BudgetOutput},
        examples=[ASKED, ANSWERED],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        given = BudgetInput(data=request.data)
        given.is_valid(raise_exception=True)
        if self.actor.organization_id is None:
            raise NotFound("You act in no organization.")
        budget = create_budget(actor=self.actor, organization_id=self.actor.organization_id, **given.validated_data)
        return answer(budget, self.actor, status=201)


class BudgetView(View):
    scopes: ClassVar[dict[str, str]] = {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}
    roles: ClassVar[dict[str, str]] = {"PATCH": "admin", "DELETE": "admin"}

    @extend_schema(
        operation_id="billing_budgets_retrieve",
        summary="Get a budget",
        responses={200: BudgetOutput},
        examples=[ANSWERED],
    )
    def get(self, request: Request, budget_id: str) -> Response:
        return answer(find_visible(self.actor, budget_id), self.actor)

    @extend_schema(
        operation_id="billing_budgets_update",
        summary="Change a budget",
        description="Holds for the next call. What a budget counts cannot be changed: make a new one. Honours If-Match.",
        parameters=[IF_MATCH],
        request=BudgetChangeInput,
        responses={200: BudgetOutput},
        examples=[BOOSTED, ANSWERED],
    )
    def patch(self, request: Request, budget_id: str) -> Response:
        found = find_visible(self.actor, budget_id)
        given = BudgetChangeInput(data=request.data)
        given.is_valid(raise_exception=True)
        budget = update_budget(
            actor=self.actor,
            budget_id=found.id,
            changes=given.validated_data,
            expected_version=expected_version(request),
        )
        return answer(budget, self.actor)

    @extend_schema(
        operation_id="billing_budgets_destroy",
        summary="Delete a budget",
        description="It binds nobody any more; usage records stay. Honours If-Match.",
        parameters=[IF_MATCH],
        responses={204: None},
    )
    def delete(self, request: Request, budget_id: str) -> Response:
        found = find_visible(self.actor, budget_id)
        delete_budget(actor=self.actor, budget_id=found.id, expected_version=expected_version(request))
        return Response(status=204)


class ForecastView(View):
    scopes: ClassVar[dict[str, str]] = {"GET": READ}
    roles: ClassVar[dict[str, str]] = {"GET": "admin"}

    @extend_schema(
        operation_id="billing_forecast_retrieve",
        summary="Forecast this month's cost",
        description="From the last 28 days, as an interval and its middle.",
        responses={200: CostForecastOutput},
        examples=[FORESEEN],
    )
    def get(self, request: Request) -> Response:
        if self.actor.organization_id is None:
            raise NotFound("You act in no organization.")
        return Response(CostForecastOutput(forecast_cost(organization_id=self.actor.organization_id)).data)
