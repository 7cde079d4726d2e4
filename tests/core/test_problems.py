"""Refusals: RFC 9457, stable codes, nothing of ours leaks."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from rest_framework import exceptions
from rest_framework.test import APIRequestFactory

from apps.core.api.etag import expected_version, require_version
from apps.core.api.problems import handle_exception, problem_response, translate
from apps.core.errors import AppError, DependencyDown, InvalidInput, PreconditionFailed, RateLimited, describe_codes
from apps.core.middleware import DependencyDownMiddleware, ForwardedSchemeMiddleware, RequestIdMiddleware
from apps.core.models import VersionedEntity


@pytest.fixture
def request_() -> HttpRequest:
    request = RequestFactory().get("/api/v3/x")
    request.request_id = "req_test"
    return request


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Http404(), 404, "not_found"),
        (PermissionDenied(), 403, "permission_refused"),
        (exceptions.NotAuthenticated(), 401, "not_authenticated"),
        (exceptions.AuthenticationFailed(), 401, "not_authenticated"),
        (exceptions.Throttled(wait=9.2), 429, "rate_limited"),
        (exceptions.ParseError(), 400, "parse_error"),
        (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (exceptions.UnsupportedMediaType("text/plain"), 415, "unsupported_media_type"),
        (DjangoValidationError({"name": ["Too long."]}), 400, "invalid_input"),
        (DjangoValidationError("No."), 400, "invalid_input"),
    ],
)
def test_frameworks_refusals_become_ours(error: Exception, status: int, code: str) -> None:
    found = translate(error)
    assert found is not None
    assert (found.status, found.code) == (status, code)


def test_a_frameworks_refusal_is_titled_by_its_status() -> None:
    found = translate(exceptions.UnsupportedMediaType("text/plain"))
    assert found is not None
    assert (found.title, AppError.title) == ("Unsupported Media Type", "Something failed")


def test_a_defect_is_not_translated() -> None:
    assert translate(ZeroDivisionError()) is None
    assert handle_exception(ZeroDivisionError(), {}) is None


def test_field_errors_keep_their_path_and_the_first_is_the_detail() -> None:
    found = translate(exceptions.ValidationError({"items": [{}, {"name": ["Too long."]}], "x": "No."}))
    assert found is not None
    assert found.errors == {"items[1].name": ["Too long."], "x": ["No."]}
    assert found.message == "items[1].name: Too long."


def test_a_problem_has_every_member(request_: HttpRequest) -> None:
    response = problem_response(
        RateLimited("Wait.", retry_after_seconds=1.2, headers={"X-A": "b"}, extra={"limit": 3}), request_
    )
    assert (response.status_code, response["Content-Type"]) == (429, "application/problem+json")
    assert (response["Retry-After"], response["X-A"]) == ("2", "b")
    assert response.content == (
        b'{"type":"/api/docs/errors/rate_limited","title":"Too many requests","status":429,"detail":"Wait.",'
        b'"code":"rate_limited","errors":{},"request_id":"req_test","limit":3}'
    )


def test_the_code_of_an_instance_may_be_its_own() -> None:
    error = AppError("x", code="a.b", status=418)
    assert (error.code, error.status, AppError.code, AppError.status) == ("a.b", 418, "error", 500)


def test_every_code_is_listed_with_its_class() -> None:
    codes = describe_codes()
    assert codes["invalid_input"] is InvalidInput
    assert list(codes) == sorted(codes)


def test_a_silent_database_is_503_with_retry_after(request_: HttpRequest) -> None:
    middleware = DependencyDownMiddleware(lambda request: HttpResponse())
    answer = middleware.process_exception(request_, OperationalError("connection to 10.0.0.1 failed"))
    assert answer is not None
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert b"10.0.0.1" not in answer.content
    assert middleware.process_exception(request_, ZeroDivisionError()) is None
    assert DependencyDown().code == "dependency_down"


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-12345", True), ("x", False), ("a b c d e f", False), ("a" * 129, False)]
)
def test_a_well_formed_request_id_is_kept(given: str, kept: bool) -> None:
    response = RequestIdMiddleware(lambda request: HttpResponse())(RequestFactory().get("/", HTTP_X_REQUEST_ID=given))
    assert (response["X-Request-Id"] == given) is kept
    assert len(response["X-Request-Id"]) >= 8


@pytest.mark.parametrize(
    ("address", "is_secure"), [("10.0.0.7", True), ("203.0.113.9", False), ("nonsense", False), ("", False)]
)
def test_only_our_proxies_say_that_it_was_https(settings: Any, address: str, is_secure: bool) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    request = RequestFactory().get("/", REMOTE_ADDR=address, HTTP_X_FORWARDED_PROTO="https")
    ForwardedSchemeMiddleware(lambda request: HttpResponse())(request)
    assert request.is_secure() is is_secure


class Thing(VersionedEntity):
    class Meta:
        app_label = "core"
        managed = False
        abstract = False


@pytest.mark.parametrize(("header", "expected"), [("", None), ("*", None), ('"3"', 3), ('W/"3"', 3)])
def test_if_match_names_a_version(header: str, expected: int | None) -> None:
    assert expected_version(as_drf(header)) == expected


def as_drf(header: str) -> Any:
    return APIRequestFactory().get("/", headers={"If-Match": header} if header else {})


def test_nonsense_in_if_match_is_refused() -> None:
    with pytest.raises(PreconditionFailed, match="not an ETag"):
        expected_version(as_drf('"abc"'))


def test_a_stale_version_is_refused_with_the_present_etag() -> None:
    thing = Thing(version=4)
    require_version(thing, None)
    require_version(thing, 4)
    with pytest.raises(PreconditionFailed) as caught:
        require_version(thing, 3)
    assert caught.value.headers == {"ETag": '"4"'}


def test_a_missing_page_is_a_page_for_people_and_a_problem_for_programs(db: None) -> None:
    page = Client().get("/nowhere", headers={"Accept": "text/html"})
    problem = Client().get("/api/v3/nowhere")
    assert (page.status_code, page["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert (problem.status_code, problem["Content-Type"]) == (404, "application/problem+json")


def test_an_error_code_leads_to_its_page(db: None) -> None:
    found = Client().get("/api/docs/errors/rate_limited")
    assert (found.status_code, b"429" in found.content) == (200, True)
    assert Client().get("/api/docs/errors/nonsense").status_code == 404
    assert b"rate_limited" in Client().get("/api/docs/errors").content


def test_the_api_documentation_loads_nothing_from_elsewhere(db: None) -> None:
    page = Client().get("/api/docs").content.decode()
    assert "swagger-ui-bundle.js" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_every_page_has_the_strict_headers(db: None) -> None:
    page = Client().get("/api/docs")
    policy = page["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert f'nonce="{nonce}"' in page.content.decode()
    assert page["X-Frame-Options"] == "DENY"
    assert page["X-Content-Type-Options"] == "nosniff"
