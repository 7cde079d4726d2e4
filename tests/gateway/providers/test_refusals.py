"""What may be shown of an upstream's refusal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest

from apps.core.errors import AppError
from apps.gateway.providers.base import (
    Target,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimedOut,
    UpstreamUnauthenticated,
    UpstreamUnavailable,
)
from apps.gateway.providers.refusals import (
    MASK,
    error_from_object,
    error_from_response,
    mask_secrets,
    parse_retry_after,
    status_of,
)

TARGET = Target("acme", "openai", "https://example.com/v1", "own-credential", "m")


def refuse(status: int, body: Any, headers: dict[str, str] | None = None) -> UpstreamError:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return error_from_response(target=TARGET, status=status, headers=headers or {}, body=content)


class TestSecrets:
    @pytest.mark.parametrize(
        "secret",
        [
            "sk-proj-abcDEF1234567890",
            "sk-ant-api03-AbCdEf_123456-789",
            "sk-or-v1-0123456789abcdef0123456789abcdef",
            "gsk_abcdefghij0123456789",
            "AIzaSyA1234567890abcdefghij",
            "xai-0123456789abcdef",
            "Bearer abc.def.ghi",
            "hf_abcdefghijk",
            "key-abc123def456ghi",
            "0123456789abcdef0123456789abcdef",
            "own-credential",
        ],
    )
    def test_keys_are_masked(self, secret: str) -> None:
        masked = mask_secrets(f"Bad key '{secret}' given.", "own-credential")

        assert secret not in masked
        assert masked == f"Bad key '{MASK}' given."

    @pytest.mark.parametrize(
        "words",
        [
            "This model's maximum context length is 128000 tokens.",
            "The token_limit_of_the_request and api_version are wrong; see key-value-pairs.",
            "Unsupported value: 'messages[0].role' does not support 'developer'.",
            "The model `gpt-4o-mini-2024-07-18` does not exist.",
            "Invalid schema for function 'get_weather_for_the_whole_of_next_week_please'.",
        ],
    )
    def test_ordinary_words_are_not(self, words: str) -> None:
        assert mask_secrets(words) == words

    def test_messages_are_cut(self) -> None:
        assert len(refuse(400, {"error": {"message": "ab " * 1000}}).message) == 500

    def test_a_target_does_not_show_its_credential(self) -> None:
        assert "own-credential" not in repr(TARGET)

    @pytest.mark.parametrize("status", [400, 408, 429, 500])
    def test_no_error_shows_the_credential(self, status: int) -> None:
        assert "own-credential" not in refuse(status, {"error": {"message": "key own-credential is odd"}}).message


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "7"}, 7),
            ({"retry-after": "0.5"}, 0.5),
            ({"retry-after": "-3"}, 0),
            ({"retry-after": "inf"}, 86_400),
            ({"retry-after": "nan"}, 0),
            ({"retry-after-ms": "1e300"}, 86_400),
            ({"retry-after": "Wed, 21 Oct 9999 07:28:00 GMT"}, 86_400),
            ({"retry-after": "soon"}, None),
            ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
            ({"retry-after-ms": "x"}, None),
            ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
            ({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}, 0),
        ],
    )
    def test_forms(self, headers: dict[str, str], seconds: float | None) -> None:
        assert parse_retry_after(headers) == seconds

    def test_a_date_in_the_future(self) -> None:
        moment = datetime.now(UTC) + timedelta(seconds=60)

        assert parse_retry_after({"retry-after": format_datetime(moment, usegmt=True)}) == pytest.approx(60, abs=2)


class TestKinds:
    @pytest.mark.parametrize(
        ("status", "kind", "answer"),
        [
            (400, UpstreamRejected, 400),
            (401, UpstreamUnauthenticated, 502),
            (402, UpstreamUnauthenticated, 502),
            (403, UpstreamUnauthenticated, 502),
            (404, UpstreamRejected, 404),
            (405, UpstreamRejected, 400),
            (408, UpstreamTimedOut, 504),
            (409, UpstreamUnavailable, 503),
            (413, UpstreamRejected, 413),
            (415, UpstreamRejected, 400),
            (422, UpstreamRejected, 422),
            (425, UpstreamUnavailable, 503),
            (429, UpstreamRateLimited, 429),
            (500, UpstreamUnavailable, 503),
            (504, UpstreamTimedOut, 504),
            (529, UpstreamUnavailable, 503),
        ],
    )
    def test_by_status(self, status: int, kind: type[UpstreamError], answer: int) -> None:
        error = refuse(status, {"error": {"message": "words"}})

        assert (type(error), error.status, error.upstream_status) == (kind, answer, status)

    def test_the_upstreams_own_details_are_kept(self) -> None:
        details = {"message": "Too long.", "type": "invalid", "param": "messages", "code": "context_length_exceeded"}

        error = refuse(400, {"error": details})

        assert (error.message, error.param) == ("Too long.", "messages")
        assert (error.upstream_type, error.upstream_code) == ("invalid", "context_length_exceeded")

    def test_flagged_input_is_the_clients_affair(self) -> None:
        error = refuse(403, {"error": {"message": "Flagged.", "code": 403, "metadata": {"reasons": ["violence"]}}})

        assert isinstance(error, UpstreamRejected)
        assert (error.status, error.message) == (400, "Flagged.")

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"error": "flat words"}, "flat words"),
            ({"message": "no envelope"}, "no envelope"),
            ({"detail": "fast api"}, "fast api"),
            ({"detail": [{"loc": ["body"], "msg": "bad"}]}, "[{'loc': ['body'], 'msg': 'bad'}]"),
            (b"<html>", "Provider 'acme' rejects the request (status 400)."),
            ([], "Provider 'acme' rejects the request (status 400)."),
            ({}, "Provider 'acme' rejects the request (status 400)."),
        ],
    )
    def test_messages_wherever_they_are(self, body: Any, message: str) -> None:
        assert refuse(400, body).message == message

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            ({"code": 503}, 503),
            ({"code": "429"}, 429),
            ({"code": 200}, 502),
            ({"code": "invalid", "type": "invalid_request_error"}, 400),
            ({"type": "overloaded_error"}, 529),
            ({"type": "brand_new"}, 502),
            ({"type": 3}, 502),
            ("words", 502),
        ],
    )
    def test_the_status_an_error_object_stands_for(self, error: Any, status: int) -> None:
        assert status_of(error) == status

    def test_a_rate_limit_says_when(self) -> None:
        assert refuse(429, {}, {"retry-after": "9"}).retry_after_seconds == 9
        assert error_from_object(target=TARGET, status=429, error=None).retry_after_seconds is None


def test_every_error_has_a_code_of_its_own() -> None:
    kinds = [UpstreamError, *UpstreamError.__subclasses__()]

    codes = {kind.code for kind in kinds}

    assert len(codes) == len(kinds)
    assert [code for code in codes if not code.startswith("gateway.upstream_")] == []
    assert issubclass(UpstreamError, AppError)
    # 401 would tell clients that their own key is wrong.
    assert 401 not in {kind.status for kind in kinds}
