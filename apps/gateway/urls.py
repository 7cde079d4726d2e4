"""REST routes of the gateway. `/v1/*` is answered before Django, see edge/."""

from django.urls import path

from apps.gateway.api.compare import CompareView
from apps.gateway.api.completions import CompletionView
from apps.gateway.api.models import ModelListView, ModelUsageView, ModelView
from apps.gateway.api.providers import ProviderHealthHistoryView, ProviderHealthView, ProviderListView

urlpatterns = [
    path("api/v3/models", ModelListView.as_view(), name="model-list"),
    path("api/v3/models/compare", CompareView.as_view(), name="model-compare"),
    path("api/v3/models/<str:model_id>", ModelView.as_view(), name="model"),
    path("api/v3/models/<str:model_id>/usage", ModelUsageView.as_view(), name="model-usage"),
    path("api/v3/providers", ProviderListView.as_view(), name="provider-list"),
    path("api/v3/providers/health", ProviderHealthView.as_view(), name="provider-health"),
    path("api/v3/providers/health/history", ProviderHealthHistoryView.as_view(), name="provider-health-history"),
    path("api/v3/chat/completions", CompletionView.as_view(), name="chat-completions"),
]
