"""Bad input: exact errors in OpenAI's shape, never a 500, and nothing is forwarded."""

from __future__ import annotations

from typing import Any

import openai
import orjson
import pytest
from openai import AsyncOpenAI
from pytest_django import Settings

from apps.core.actor import Actor, ActorKind
from apps.core.ids import uuid7
from apps.gateway.runtime import callers as callers_module
from apps.gateway.selectors import Caller
from tests.gateway.conftest import OFFLINE_SECRET, find_offline
from tests.gateway.driving import Exchange

HELLO = [{"role": "user", "content": "hello"}]
CHAT = "/v1/chat/completions"
EMBED = "/v1/embeddings"
INVALID, MISSING = "invalid_value", "missing_required_parameter"
pytestmark = pytest.mark.asyncio


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "small", "messages": HELLO, **fields}


def embed(**fields: Any) -> dict[str, Any]:
    return {"model": "vectors", "input": "hello", **fields}


def nested(depth: int) -> bytes:
    return b'{"model":"small","messages":' + b"[" * depth + b"]" * depth + b"}"


BAD_REQUESTS: list[tuple[str, Any, str | None, str, str]] = [
    (CHAT, b"", None, "gateway.body_malformed", "The body is empty; a JSON object is expected."),
    (CHAT, b"[]", None, "gateway.body_malformed", "The body has to be a JSON object."),
    (CHAT, b"null", None, "gateway.body_malformed", "The body has to be a JSON object."),
    (CHAT, b'{"model": NaN}', None, "gateway.body_malformed", "The body is not valid JSON"),
    (CHAT, b'{"model": "\xff"}', None, "gateway.body_malformed", "The body is not valid JSON"),
    (CHAT, b'{"model": "small", "messages":', None, "gateway.body_malformed", "The body is not valid JSON"),
    (CHAT, nested(150), None, "gateway.body_malformed", "The body is nested more than 100 levels deep."),
    (CHAT, nested(5000), None, "gateway.body_malformed", "The body is not valid JSON"),
    (CHAT, {"messages": HELLO}, "model", MISSING, "Name a model in `model`."),
    (CHAT, chat(model=None), "model", MISSING, "Name a model in `model`."),
    (CHAT, chat(model=""), "model", MISSING, "Name a model in `model`."),
    (CHAT, chat(model=7), "model", INVALID, "`model` has to be a string, not an integer."),
    (CHAT, {"model": "small"}, "messages", MISSING, "Send the conversation in `messages`."),
    (CHAT, chat(messages=None), "messages", INVALID, "`messages` has to be an array of objects, not null."),
    (CHAT, chat(messages="hi"), "messages", INVALID, "`messages` has to be an array of objects, not a string."),
    (CHAT, chat(messages=[]), "messages", INVALID, "`messages` has to hold at least one message."),
    (CHAT, chat(messages=["hi"]), "messages[0]", INVALID, "`messages[0]` has to be an object, not a string."),
    (CHAT, chat(messages=[{}]), "messages[0].role", MISSING, "`messages[0].role` is missing."),
    (CHAT, chat(messages=[{"role": 1}]), "messages[0].role", INVALID, "has to be a string, not an integer."),
    (CHAT, chat(messages=[{"role": ["user"]}]), "messages[0].role", INVALID, "has to be a string, not an array."),
    (CHAT, chat(messages=[{"role": "king"}]), "messages[0].role", INVALID, "is 'king'; it has to be one of assistant"),
    (CHAT, chat(messages=[{"role": "user", "content": 5}]), "messages[0].content", INVALID, "not an integer."),
    (CHAT, chat(messages=[{"role": "user", "content": [5]}]), "messages[0].content[0]", INVALID, "an object"),
    (CHAT, chat(messages=[{"role": "user", "content": [{}]}]), "messages[0].content[0].type", MISSING, "is missing."),
    (CHAT, chat(messages=[{"role": "user", "tool_calls": {}}]), "messages[0].tool_calls", INVALID, "not an object."),
    (CHAT, chat(stream="yes"), "stream", INVALID, "`stream` has to be a boolean, not a string."),
    (CHAT, chat(stream=1), "stream", INVALID, "`stream` has to be a boolean, not an integer."),
    (CHAT, chat(stream_options=[]), "stream_options", INVALID, "`stream_options` has to be an object, not an array."),
    (CHAT, chat(temperature="hot"), "temperature", INVALID, "`temperature` has to be a number, not a string."),
    (CHAT, chat(temperature=True), "temperature", INVALID, "`temperature` has to be a number, not a boolean."),
    (CHAT, chat(max_tokens=0), "max_tokens", INVALID, "`max_tokens` is 0; it has to be at least 1."),
    (CHAT, chat(max_tokens=1.5), "max_tokens", INVALID, "`max_tokens` has to be an integer, not a number."),
    (CHAT, chat(max_completion_tokens=True), "max_completion_tokens", INVALID, "an integer, not a boolean."),
    (CHAT, chat(n=129), "n", INVALID, "`n` is 129; it has to be at most 128."),
    (CHAT, chat(stop=[1]), "stop", INVALID, "`stop` has to be a string or an array of strings, not an array."),
    (CHAT, chat(tools={}), "tools", INVALID, "`tools` has to be an array of objects, not an object."),
    (CHAT, chat(tools=[1]), "tools[0]", INVALID, "`tools[0]` has to be an object, not an integer."),
    (CHAT, chat(tools=[{}]), "tools[0].type", MISSING, "`tools[0].type` is missing."),
    (CHAT, chat(tools=[{"type": "function"}]), "tools[0].function.name", MISSING, "is missing."),
    (CHAT, chat(tool_choice=5), "tool_choice", INVALID, "`tool_choice` has to be an object, not an integer."),
    (CHAT, chat(response_format="json"), "response_format", INVALID, "has to be an object, not a string."),
    (CHAT, chat(response_format={}), "response_format.type", MISSING, "`response_format.type` is missing."),
    (CHAT, chat(metadata="x"), "metadata", INVALID, "`metadata` has to be an object, not a string."),
    (CHAT, chat(user=5), "user", INVALID, "`user` has to be a string, not an integer."),
    (CHAT, chat(model="vectors"), "model", "gateway.model_unsuited", "Model 'vectors' cannot be used for chat."),
    (EMBED, {"model": "vectors"}, "input", MISSING, "Send the text to embed in `input`."),
    (EMBED, embed(input=""), "input", INVALID, "`input` is empty."),
    (EMBED, embed(input=[]), "input", INVALID, "`input` is empty."),
    (EMBED, embed(input=5), "input", INVALID, "not an integer."),
    (EMBED, embed(input=["a", 1]), "input", INVALID, "`input` has to be a string, an array of strings"),
    (EMBED, embed(input=[[1], []]), "input", INVALID, "Every item of `input` has to be a non-empty array of integers."),
    (EMBED, embed(input=["a"] * 2049), "input", INVALID, "`input` has 2049 items; at most 2048 are accepted."),
    (EMBED, embed(encoding_format="hex"), "encoding_format", INVALID, "is 'hex'; it has to be one of float, base64."),
    (EMBED, embed(encoding_format=1), "encoding_format", INVALID, "has to be a string, not an integer."),
    (EMBED, embed(dimensions=0), "dimensions", INVALID, "`dimensions` is 0; it has to be at least 1."),
    (EMBED, embed(model="small"), "model", "gateway.model_unsuited", "Model 'small' cannot be used for embeddings."),
]


async def test_every_bad_field_is_a_400_that_names_it(offline) -> None:
    wrong = []
    for path, body, param, code, words in BAD_REQUESTS:
        answer = await Exchange(path, secret=OFFLINE_SECRET, body=body).finish()
        error = answer.json()["error"]
        found = (answer.status, error["type"], error["param"], error["code"], words in error["message"])
        if found != (400, "invalid_request_error", param, code, True):
            wrong.append((body, error))
    assert wrong == []
    assert offline.journal.segments() == []


@pytest.mark.parametrize("body", [chat(stop=None, n=None, seed=-1, unknown={"a": [1]}), chat(model="small", stop="x")])
async def test_null_and_unknown_fields_are_fine(offline, body: dict[str, Any]) -> None:
    assert (await Exchange(CHAT, secret=OFFLINE_SECRET, body=body).finish()).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "text", "text": "!"}]}]},
        {"stop": ["x", "y"]},
        {"tool_choice": "none"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"temperature": 0},
        {"temperature": 0.5, "top_p": 1},
    ],
)
async def test_every_right_form_of_a_field_is_taken(offline, fields: dict[str, Any]) -> None:
    assert (await Exchange(CHAT, secret=OFFLINE_SECRET, body=chat(**fields)).finish()).status == 200


async def test_an_unknown_model_is_404_for_the_sdk(offline) -> None:
    answer = await Exchange(CHAT, secret=OFFLINE_SECRET, body=chat(model="gpt-99")).finish()
    assert answer.status == 404
    assert answer.json() == {
        "error": {
            "message": "Model 'gpt-99' does not exist, or this key may not use it.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "secret",
    ["pk_live_" + "0" * 33, "nonsense", "x" * 5000, "schlüssel-schlüssel-schlüssel", "eyJhbGciOiJub25lIn0.e30.x"],
    ids=["checksum", "short", "long", "umlauts", "token"],
)
async def test_a_wrong_key_is_401(offline, secret: str) -> None:
    answer = await Exchange(CHAT, body=chat(), headers={"x-api-key": secret}).finish()
    assert answer.status == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.headers["www-authenticate"] == 'Bearer realm="portico"'


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer "}, {"x-api-key": " "}]
)
async def test_no_key_is_401_with_a_remedy(offline, headers: dict[str, str]) -> None:
    answer = await Exchange(CHAT, body=chat(), headers=headers).finish()
    assert answer.status == 401
    assert "Authorization: Bearer" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("scopes", "role", "code"),
    [
        ({"models:read"}, "owner", "users.scope_missing"),
        ({"*"}, "viewer", "users.role_too_low"),
        ({"*"}, "", "users.role_too_low"),
    ],
)
async def test_a_missing_scope_or_role_is_403(offline, monkeypatch, scopes: set[str], role: str, code: str) -> None:
    def find(secret: str) -> Any:
        caller, identity = find_offline(secret)
        actor = Actor(kind=ActorKind.USER, organization_id=uuid7(), role=role, scopes=frozenset(scopes))
        return Caller(actor=actor, credential=caller.credential), identity

    monkeypatch.setattr(callers_module, "find_caller", find)
    answer = await Exchange(CHAT, secret=OFFLINE_SECRET, body=chat()).finish()
    assert (answer.status, answer.json()["error"]["code"]) == (403, code)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"content-type": "application/x-www-form-urlencoded"}, "not 'application/x-www-form-urlencoded'"),
        ({"content-type": "text/plain; charset=utf-8"}, "not 'text/plain'"),
        ({"content-encoding": "gzip"}, "uncompressed"),
    ],
)
async def test_other_content_is_415(offline, headers: dict[str, str], words: str) -> None:
    answer = await Exchange(CHAT, secret=OFFLINE_SECRET, body=chat(), headers=headers).finish()
    assert answer.status == 415
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json"])
async def test_json_by_any_name_is_taken(offline, kind: str) -> None:
    answer = await Exchange(CHAT, secret=OFFLINE_SECRET, body=chat(), headers={"content-type": kind}).finish()
    assert answer.status == 200


async def test_a_large_body_is_413_before_it_is_read(offline, settings: Settings) -> None:
    settings.GATEWAY_MAX_BODY_BYTES = 1000
    told = Exchange(CHAT, secret=OFFLINE_SECRET, parts=[], headers={"content-length": "50000000"})
    assert (await told.finish()).status == 413
    untold = Exchange(CHAT, secret=OFFLINE_SECRET, parts=[b"x" * 600] * 3 + [b"never read"])
    assert (await untold.finish()).status == 413
    assert untold.json()["error"]["message"] == "The body is larger than 1000 bytes, the most that is accepted."
    whole = Exchange(CHAT, secret=OFFLINE_SECRET, parts=[b"x" * 1001])
    assert (await whole.finish()).status == 413


async def test_a_body_in_parts_is_put_together(offline) -> None:
    content = orjson.dumps(chat())
    answer = await Exchange(CHAT, secret=OFFLINE_SECRET, parts=[content[:7], content[7:20], content[20:]]).finish()
    assert answer.status == 200


async def test_a_client_that_leaves_while_sending_gets_nothing(offline) -> None:
    exchange = Exchange(CHAT, secret=OFFLINE_SECRET, parts=[b'{"model"'], leaves_while_sending=True)
    assert (await exchange.finish()).sent == []


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/nothing", 404), ("/v1", 404), ("/v1/chat", 404), ("/v1//models", 404)]
)
async def test_other_paths_are_404(offline, path: str, status: int) -> None:
    answer = await Exchange(path, secret=OFFLINE_SECRET, body={}).finish()
    assert answer.status == status
    assert answer.json()["error"]["code"] == "gateway.route_unknown"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", CHAT, "POST"), ("DELETE", EMBED, "POST"), ("POST", "/v1/models", "GET"), ("PUT", "/v1/models/x", "GET")],
)
async def test_other_methods_are_405(offline, method: str, path: str, allowed: str) -> None:
    answer = await Exchange(path, secret=OFFLINE_SECRET, body={}, method=method).finish()
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


async def test_what_nobody_expected_is_a_500_without_details(offline, monkeypatch) -> None:
    def explode(*_: Any, **__: Any) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr("apps.gateway.dialects.openai_chat.check_chat", explode)
    answer = await Exchange(CHAT, secret=OFFLINE_SECRET, body=chat()).finish()
    assert answer.status == 500
    assert answer.json()["error"] == {
        "message": "Something failed on our side; quote the request id.",
        "type": "server_error",
        "param": None,
        "code": "internal_error",
    }
    assert b"swordfish" not in answer.content


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://app.example.com", True), ("https://evil.example.com", False)]
)
async def test_browsers_of_named_origins_may_call(offline, settings: Settings, origin: str, allowed: bool) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
    asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    preflight = await Exchange(CHAT, method="OPTIONS", body={}, headers=asked).finish()
    answer = await Exchange(CHAT, secret=OFFLINE_SECRET, body=chat(), headers={"origin": origin}).finish()
    assert preflight.status == 204
    assert (preflight.headers.get("access-control-allow-headers") == "x-api-key") is allowed
    assert (answer.headers.get("access-control-allow-origin") == origin) is allowed


async def test_the_sdk_raises_its_own_errors(http, sdk: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await sdk.chat.completions.create(model="gpt-99", messages=HELLO)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as bad:
        await sdk.chat.completions.create(model="sandbox-small", messages=[])
    assert bad.value.param == "messages"
    stranger = AsyncOpenAI(base_url="http://portico/v1", api_key="wrong" * 8, http_client=http, max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        await stranger.models.list()
