"""Pages of the gateway."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from apps.core.errors import DependencyDown, InvalidInput
from apps.gateway.services.running import list_running_calls, stop_running_call

SEE_CALLS = "billing.view_usagerecord"
STOP_CALLS = "gateway.change_deployment"


@ensure_csrf_cookie
def show_playground(request: HttpRequest) -> HttpResponseBase:
    """Show staff the playground: calls made there are ordinary calls of the person who makes them."""
    context = {
        **admin.site.each_context(request),
        "title": "Playground",
        "is_fullwidth": True,
        "records_url": reverse("admin:billing_usagerecord_changelist"),
        "has_organization": request.actor.organization_id is not None,  # type: ignore[attr-defined]
    }
    return TemplateResponse(request, "gateway/playground.html", context)


playground = admin.site.admin_view(show_playground)


@ensure_csrf_cookie
def show_running_calls(request: HttpRequest) -> HttpResponseBase:
    """Show staff what runs now; with `?part` only the table, which the page asks for every two seconds."""
    if not request.user.has_perm(SEE_CALLS):
        raise PermissionDenied
    context: dict[str, Any] = {"may_stop": request.user.has_perm(STOP_CALLS), "failure": ""}
    try:
        context["calls"], context["count"] = list_running_calls()
    except DependencyDown as error:
        context |= {"calls": [], "count": 0, "failure": error.message}
    if "part" in request.GET:
        return TemplateResponse(request, "gateway/running_part.html", context)
    context |= {**admin.site.each_context(request), "title": "Running calls", "is_fullwidth": True}
    return TemplateResponse(request, "gateway/running.html", context)


@require_POST
def stop_call(request: HttpRequest, call_id: str) -> HttpResponseBase:
    """End a running call and show the list again."""
    if not request.user.has_perm(STOP_CALLS):
        raise PermissionDenied
    try:
        stop_running_call(call_id=call_id, actor=request.actor)  # type: ignore[attr-defined]
    except InvalidInput as error:
        raise Http404(error.message) from error
    except DependencyDown as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"{call_id} was told to stop.")
    return redirect("running-calls")


running_calls = admin.site.admin_view(show_running_calls)
stop_running = admin.site.admin_view(stop_call)
