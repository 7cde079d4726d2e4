"""What each provider's failure is taken for."""

from __future__ import annotations

import pytest

from apps.gateway.providers.base import (
    NativeOnly,
    Target,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from apps.gateway.providers.failures import BLAMELESS, REPEATABLE, Failure, classify
from apps.gateway.providers.refusals import error_from_object

TARGET = Target(provider="openai", kind="openai", base_url="", credential="", upstream_model="m")


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"code": "context_length_exceeded", "message": "no"}, Failure.CONTEXT),
        (400, {"message": "This model's maximum context length is 8192 tokens."}, Failure.CONTEXT),
        (
            400,
            {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000"},
            Failure.CONTEXT,
        ),
        (
            400,
            {"type": "invalid_request_error", "message": "input length and `max_tokens` exceed context limit"},
            Failure.CONTEXT,
        ),
        (413, {"type": "request_too_large", "message": "Request exceeds the maximum size"}, Failure.CONTEXT),
        (400, "the input length exceeds the context length", Failure.CONTEXT),
        (400, {"message": "request (9000 tokens) exceeds the available context size"}, Failure.CONTEXT),
        (400, {"message": "Please reduce the length of the messages or completion."}, Failure.CONTEXT),
        (400, {"code": "content_policy_violation", "message": "no"}, Failure.CONTENT),
        (400, {"code": "content_filter", "message": "The response was filtered"}, Failure.CONTENT),
        (400, {"code": "invalid_prompt", "message": "Invalid prompt"}, Failure.CONTENT),
        (400, {"message": "Your request was flagged as potentially violating our usage policy."}, Failure.CONTENT),
        (400, {"message": "Output blocked by content filtering policy"}, Failure.CONTENT),
        (
            403,
            {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["violence"]}},
            Failure.CONTENT,
        ),
        (400, {"message": "temperature has to be at most 2", "param": "temperature"}, Failure.REQUEST),
        (422, {"message": "no"}, Failure.REQUEST),
        (404, {"message": "The model does not exist"}, Failure.MISSING),
        (401, {"message": "no"}, Failure.ACCOUNT),
        (403, {"message": "no"}, Failure.ACCOUNT),
        (429, {"code": "insufficient_quota", "message": "no"}, Failure.ACCOUNT),
        (429, {"message": "slow down"}, Failure.RATE),
        (500, {"message": "oops"}, Failure.SERVER),
        (503, {"message": "overloaded"}, Failure.SERVER),
        (529, {"type": "overloaded_error", "message": "Overloaded"}, Failure.SERVER),
        (504, {"message": "late"}, Failure.TIMEOUT),
        (302, {}, Failure.ACCOUNT),
    ],
)
def test_an_answer_that_is_none(status: int, error: object, kind: Failure) -> None:
    assert classify(error_from_object(target=TARGET, status=status, error=error)) is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UpstreamUnavailable("closed without an answer", status=502), Failure.STALE),
        (UpstreamUnavailable("cannot be reached"), Failure.UNREACHABLE),
        (UpstreamUnavailable("an address that cannot be used", is_retryable=False), Failure.ACCOUNT),
        (UpstreamTimedOut("late"), Failure.TIMEOUT),
        (UpstreamBroken("cut"), Failure.BROKEN),
        (UpstreamError("something"), Failure.SERVER),
        (NativeOnly("prompt is too long"), Failure.MISSING),
    ],
)
def test_a_network_that_fails(error: UpstreamError, kind: Failure) -> None:
    assert classify(error) is kind


def test_what_is_no_fault_of_the_deployment_is_not_asked_again() -> None:
    assert frozenset() == BLAMELESS & REPEATABLE
