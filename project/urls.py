"""All HTML and REST routes. `/v1/*` is answered before Django, see project/asgi.py."""

from django.contrib import admin
from django.urls import include, path

from apps.gateway.views import playground, playground_analysis, run_analysis, running_calls, stop_running

urlpatterns = [
    # The admin takes every path below its own, so that what is added to it stands before it.
    path("admin/playground", playground, name="playground"),
    path("admin/playground/analysis", playground_analysis, name="playground-analysis"),
    path("admin/playground/analysis/run", run_analysis, name="playground-analysis-run"),
    path("admin/running-calls", running_calls, name="running-calls"),
    path("admin/running-calls/<str:call_id>/stop", stop_running, name="stop-running-call"),
    path("admin/", admin.site.urls),
    path("", include("apps.users.urls")),
    path("", include("apps.audit.urls")),
    path("", include("apps.billing.urls")),
    path("", include("apps.integrations.urls")),
    path("", include("apps.gateway.urls")),
    path("", include("apps.conversations.urls")),
    path("", include("apps.monitoring.urls")),
    path("", include("apps.core.urls")),
]
handler404 = "apps.core.views.page_not_found"
handler500 = "apps.core.views.server_error"
