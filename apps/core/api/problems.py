"""RFC 9457 problem details: the one shape of every refusal of /api/v3 (and of pages asked for as JSON)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions
from rest_framework.exceptions import ErrorDetail
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import set_rollback

from apps.core.errors import (
    AppError,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    PermissionRefused,
    RateLimited,
)

CONTENT_TYPE = "application/problem+json"
ERROR_DOCS = "/api/docs/errors/"


def describe(error: AppError, request_id: str) -> dict[str, Any]:
    """Return the problem object of an expected failure."""
    problem: dict[str, Any] = {
        "type": f"{ERROR_DOCS}{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "errors": error.errors,
        "request_id": request_id,
    }
    problem.update(error.extra)
    return problem


def headers_of(error: AppError) -> dict[str, str]:
    """Return the headers of the answer: its own and Retry-After in whole seconds, rounded up."""
    headers = dict(error.headers)
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="portico"')
    return headers


def problem_response(error: AppError, request: HttpRequest) -> HttpResponse:
    """Return a problem as a plain Django response, for middleware and views outside DRF."""
    body = orjson.dumps(describe(error, getattr(request, "request_id", "")))
    return HttpResponse(body, status=error.status, content_type=CONTENT_TYPE, headers=headers_of(error))


def _flatten(detail: Any, path: str = "") -> dict[str, list[str]]:
    if isinstance(detail, Mapping):
        found: dict[str, list[str]] = {}
        for key, value in detail.items():
            found.update(_flatten(value, f"{path}.{key}" if path else str(key)))
        return found
    if isinstance(detail, list):
        if all(isinstance(item, str | ErrorDetail) for item in detail):
            return {path or "non_field_errors": [str(item) for item in detail]}
        found = {}
        for index, item in enumerate(detail):
            if item:
                found.update(_flatten(item, f"{path}[{index}]"))
        return found
    return {path or "non_field_errors": [str(detail)]}


def _summary(errors: Mapping[str, list[str]]) -> str:
    name, sentences = next(iter(errors.items()))
    first = sentences[0] if sentences else "Invalid."
    return first if name == "non_field_errors" else f"{name}: {first}"


def translate(error: Exception) -> AppError | None:
    """Return the AppError that stands for a framework's exception; None for what is a defect."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, PermissionDenied):
        return PermissionRefused()
    if isinstance(error, DjangoValidationError):
        errors = error.message_dict if hasattr(error, "error_dict") else {"non_field_errors": error.messages}
        return InvalidInput(_summary(errors), errors=errors)
    if isinstance(error, exceptions.ValidationError):
        errors = _flatten(error.detail)
        return InvalidInput(_summary(errors), errors=errors)
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return NotAuthenticated(str(error.detail))
    if isinstance(error, exceptions.Throttled):
        return RateLimited(str(error.detail), retry_after_seconds=getattr(error, "wait", None))
    if isinstance(error, exceptions.APIException):
        detail = error.detail if isinstance(error.detail, str) else error.default_detail
        known = AppError(str(detail), code=str(error.default_code), status=error.status_code)
        known.title = HTTPStatus(error.status_code).phrase  # type: ignore[misc]
        return known
    return None


def handle_exception(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler: answer what is expected, let the rest reach the log and the 500 page."""
    known = translate(error)
    if known is None:
        return None
    set_rollback()
    request: Request | None = context.get("request")
    request_id = getattr(getattr(request, "_request", None), "request_id", "")
    response = Response(describe(known, request_id), status=known.status, headers=headers_of(known))
    response.content_type = CONTENT_TYPE
    return response
