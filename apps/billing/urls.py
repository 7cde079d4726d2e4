"""Routes of the billing house."""

from django.urls import path

from apps.billing.api.budgets import BudgetListView, BudgetView, ForecastView
from apps.billing.api.views import UsageView
from apps.billing.views import UsagePage

urlpatterns = [
    path("usage", UsagePage.as_view(), name="usage"),
    path("api/v3/billing/usage", UsageView.as_view(), name="billing-usage"),
    path("api/v3/billing/budgets", BudgetListView.as_view(), name="billing-budgets"),
    path("api/v3/billing/budgets/<str:budget_id>", BudgetView.as_view(), name="billing-budget"),
    path("api/v3/billing/forecast", ForecastView.as_view(), name="billing-forecast"),
]
