"""Pages of the gateway."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.csrf import ensure_csrf_cookie


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
