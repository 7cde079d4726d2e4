"""What probes and Prometheus ask: liveness, readiness, metrics."""

from __future__ import annotations

import hmac
import ipaddress

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_prometheus.exports import ExportToDjangoView

from apps.core.api.problems import problem_response
from apps.core.errors import NotAuthenticated
from apps.monitoring.choices import Health
from apps.monitoring.selectors.components import ESSENTIAL, check_components, overall

RETRY_AFTER_SECONDS = 2


@never_cache
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """Tell that the process answers. Asks nobody else: a dead database is no reason to restart the web process."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Tell whether this process can serve; 503 with the reasons when it cannot."""
    components = check_components((*ESSENTIAL, "cache"))
    status = overall(components)
    body = {
        "status": status,
        "components": {component.name: component.status for component in components},
        "reasons": [f"{component.name}: {component.reason}" for component in components if component.reason],
    }
    if status == Health.DOWN:
        return JsonResponse(body, status=503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
    return JsonResponse(body)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Give the metrics in Prometheus' text format, to whoever knows PORTICO_METRICS_TOKEN or asks from this machine."""
    if not _may_read_metrics(request):
        return problem_response(
            NotAuthenticated("Send PORTICO_METRICS_TOKEN as `Authorization: Bearer …`, or ask from this machine."),
            request,
        )
    answer: HttpResponse = ExportToDjangoView(request)
    return answer


def _may_read_metrics(request: HttpRequest) -> bool:
    token = settings.METRICS_TOKEN
    if token:
        return hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode())
    # Behind a proxy on this machine every address is loopback; then only the token opens the door.
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
