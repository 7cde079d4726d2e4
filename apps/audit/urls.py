"""Routes of the audit house."""

from django.urls import path

from apps.audit.api.views import TrailEntryView, TrailView

urlpatterns = [
    path("api/v3/audit/events", TrailView.as_view(), name="audit-events"),
    path("api/v3/audit/events/<str:entry_id>", TrailEntryView.as_view(), name="audit-event"),
]
