"""JSON of /api/v3: what is no JSON, or too deep, is a 400 and never a failure of ours."""

from io import BytesIO

import orjson
import pytest
from rest_framework.exceptions import ParseError

from apps.core.api.parsers import JSONParser
from apps.core.nesting import MAX_DEPTH, load_shallow


def test_it_returns_the_value():
    assert JSONParser().parse(BytesIO('{"a": [1, "é"]}'.encode())) == {"a": [1, "é"]}


def test_honest_depth_passes():
    body = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert isinstance(JSONParser().parse(BytesIO(body)), list)


def test_many_brackets_side_by_side_are_not_deep():
    body = b"[" + b",".join([b"{}"] * 500) + b"]"
    assert JSONParser().parse(BytesIO(body)) == [{}] * 500


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 1000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deeper_is_refused(depth, opening, closing):
    body = opening * depth + b"1" + closing * depth
    with pytest.raises(ParseError):
        JSONParser().parse(BytesIO(body))


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"a": NaN}', b'"\\ud800"', b"\xef\xbb\xbf{}", b"{} {}"])
def test_no_json_is_refused(body):
    with pytest.raises(ParseError, match="not valid JSON"):
        JSONParser().parse(BytesIO(body))


def test_the_api_answers_400(client):
    answer = client.post("/api/v3/auth/refresh", b"[" * 50_000, content_type="application/json")
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "parse_error"


def test_json_within_json_is_as_shallow_as_its_surroundings():
    assert load_shallow('{"a": [1, "é"]}') == {"a": [1, "é"]}
    assert isinstance(load_shallow("[" * MAX_DEPTH + "]" * MAX_DEPTH), list)
    with pytest.raises(orjson.JSONDecodeError, match="levels deep"):
        load_shallow("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
