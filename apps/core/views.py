"""Pages that belong to no house: what is not there, what went wrong."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from apps.core.api.problems import problem_response
from apps.core.errors import AppError, NotFound, describe_codes


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


def show_api_docs(request: HttpRequest) -> HttpResponse:
    """Show the interactive API documentation; everything it loads comes from this server."""
    return render(request, "core/api_docs.html")


def explain_codes(request: HttpRequest) -> HttpResponse:
    """List every error code."""
    return render(request, "core/error_codes.html", {"codes": describe_codes()})


def explain_code(request: HttpRequest, code: str) -> HttpResponse:
    """Explain one error code: what `type` of a problem leads to."""
    error = describe_codes().get(code)
    if error is None:
        raise Http404(code)
    return render(request, "core/error_code.html", {"code": code, "error": error, "explanation": error.__doc__ or ""})
