"""Routes of the monitoring house."""

from django.urls import path

from apps.monitoring.api import views as api
from apps.monitoring.views import live, metrics, ready

urlpatterns = [
    path("health", live, name="health"),
    path("ready", ready, name="ready"),
    path("metrics", metrics, name="metrics"),
    path("api/v3/monitoring/health", api.PlatformHealthView.as_view()),
    path("api/v3/monitoring/health/database", api.DatabaseHealthView.as_view()),
    path("api/v3/monitoring/health/cache", api.CacheHealthView.as_view()),
    path("api/v3/monitoring/health/queue", api.QueueHealthView.as_view()),
    path("api/v3/monitoring/health/providers", api.ProvidersHealthView.as_view()),
]
