"""Routes of the billing house."""

from django.urls import path

from apps.billing.api.views import UsageView

urlpatterns = [
    path("api/v3/billing/usage", UsageView.as_view(), name="billing-usage"),
]
