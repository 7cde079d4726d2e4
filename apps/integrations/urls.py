from django.urls import path

from apps.integrations.api import stats_views, views

urlpatterns = [
    path("api/v3/webhooks", views.EndpointListView.as_view()),
    path("api/v3/webhooks/event-types", views.EventTypeListView.as_view()),
    path("api/v3/webhooks/<str:endpoint_id>", views.EndpointView.as_view()),
    path("api/v3/webhooks/<str:endpoint_id>/test", views.EndpointTestView.as_view()),
    path("api/v3/webhooks/<str:endpoint_id>/rotate-secret", views.SecretRotationView.as_view()),
    path("api/v3/webhooks/<str:endpoint_id>/deliveries", views.DeliveryListView.as_view()),
    path("api/v3/webhooks/<str:endpoint_id>/deliveries/<str:delivery_id>/replay", views.DeliveryReplayView.as_view()),
    path("api/v3/webhooks/<str:endpoint_id>/replay", views.RangeReplayView.as_view()),
    path("api/v3/admin/api-gateway/stats", stats_views.OutboundStatsView.as_view()),
]
