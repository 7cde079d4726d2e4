"""Pages that belong to no house: what is not there, what went wrong."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.core.api.problems import problem_response
from apps.core.errors import AppError, NotFound


def _wants_json(request: HttpRequest) -> bool:
    return request.path.startswith(("/api/", "/v1/")) or "text/html" not in request.headers.get("Accept", "")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404 as a problem to programs and as a page to people."""
    if _wants_json(request):
        return problem_response(NotFound(), request)
    return render(request, "core/404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500 with the request id and nothing else."""
    if _wants_json(request):
        return problem_response(
            AppError("Something failed on our side; quote the request id.", code="internal_error"), request
        )
    return render(request, "core/500.html", status=500)
