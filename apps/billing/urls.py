"""Routes of the billing house."""

from django.urls import path

from apps.billing.api.views import UsageView
from apps.billing.views import UsagePage

urlpatterns = [
    path("usage", UsagePage.as_view(), name="usage"),
    path("api/v3/billing/usage", UsageView.as_view(), name="billing-usage"),
]
