"""What people see when there is nothing, or when something failed."""

import json

import pytest
from django.db import OperationalError
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from apps.core.views import server_error


def ask_the_dead_database():
    """Fail as the session's user does while Postgres is away."""
    raise OperationalError("the database does not answer")


@pytest.fixture
def failed_request():
    """Return a person's request that failed because the database went away."""
    request = RequestFactory().get("/chat", headers={"accept": "text/html"})
    request.request_id = "req_quoted"
    request.user = SimpleLazyObject(ask_the_dead_database)
    return request


@pytest.mark.django_db
def test_a_missing_page_is_a_page(client):
    answer = client.get("/nowhere", headers={"accept": "text/html"})
    assert answer.status_code == 404
    assert "There is nothing at this address" in answer.content.decode()


def test_the_page_of_a_failure_needs_no_database_and_says_what_to_quote(failed_request):
    answer = server_error(failed_request)
    assert answer.status_code == 500
    assert "req_quoted" in answer.content.decode()


@pytest.mark.parametrize(("path", "accepted"), [("/api/v3/chat", "text/html"), ("/chat", "application/json")])
def test_programs_are_told_of_a_failure_as_a_problem(failed_request, path, accepted):
    failed_request.path = path
    failed_request.META["HTTP_ACCEPT"] = accepted
    answer = server_error(failed_request)
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/problem+json")
    problem = json.loads(answer.content)
    assert (problem["code"], problem["request_id"]) == ("internal_error", "req_quoted")
    assert "does not answer" not in answer.content.decode()
