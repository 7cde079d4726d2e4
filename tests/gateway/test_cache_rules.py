"""What makes two requests the same, which answers are worth keeping, and how they are put together and taken apart."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import pytest

from apps.gateway.errors import ParameterInvalid
from apps.gateway.providers.base import Chunk, Completion, Usage
from apps.gateway.providers.cached import EVENTS_PER_BATCH, KIND, PIECE, CachedProvider, CachedTarget
from apps.gateway.selectors.cache import CacheTerms
from apps.gateway.services.caching.assembling import MAX_BYTES, Assembler
from apps.gateway.services.caching.canonical import identify, is_complete, may_be_cached, split_question
from apps.gateway.services.caching.control import DEFAULT, OFF, ONLY, REFRESH, CacheControl, read_control
from apps.gateway.services.caching.finding import read_vector
from apps.gateway.services.caching.keeping import CacheLookup, fit_vector

ORGANIZATION = UUID(int=1)
TERMS = CacheTerms(
    policy_id=UUID(int=2),
    generation=1,
    subject="",
    is_exact=True,
    is_semantic=False,
    ttl_seconds=60,
    similarity=0.9,
    embedding_model="",
    max_temperature=None,
    hit_price_percent=0,
)
REQUEST: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": 1}
USAGE = Usage(prompt_tokens=3, completion_tokens=4)


def digest(request: dict[str, Any] = REQUEST, **changed: Any) -> bytes:
    """Return the hash of a request, with one thing changed."""
    fields: dict[str, Any] = {
        "organization_id": ORGANIZATION,
        "terms": TERMS,
        "guard": "",
        "model": "m",
        "kind": "chat",
    }
    return identify(request, **{**fields, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"organization_id": UUID(int=9)},
        {"guard": "gpol:2"},
        {"model": "n"},
        {"kind": "embeddings"},
        {"terms": CacheTerms(**{**{name: getattr(TERMS, name) for name in TERMS.__slots__}, "generation": 2})},
        {"terms": CacheTerms(**{**{name: getattr(TERMS, name) for name in TERMS.__slots__}, "policy_id": UUID(int=3)})},
        {"terms": CacheTerms(**{**{name: getattr(TERMS, name) for name in TERMS.__slots__}, "subject": "ab"})},
    ],
    ids=["organization", "guardrails", "model", "kind", "generation", "policy", "subject"],
)
def test_whatever_an_answer_depends_on_is_in_its_hash(changed: dict[str, Any]) -> None:
    assert digest(**changed) != digest()


def test_fields_without_effect_are_not() -> None:
    assert digest({**REQUEST, "user": "u", "stream": True, "model": "alias", "stop": None}) == digest()
    assert digest(dict(reversed(REQUEST.items()))) == digest()
    assert digest({**REQUEST, "stop": "x"}) != digest()


@pytest.mark.parametrize(
    ("ours", "standard", "control"),
    [
        ("", "", DEFAULT),
        ("on", "no-store", DEFAULT),
        ("OFF", "", OFF),
        ("refresh", "", REFRESH),
        (" only ", "", ONLY),
        ("30", "", CacheControl(max_age_seconds=30)),
        ("", "no-cache", REFRESH),
        ("", "private, no-store", OFF),
        ("", "only-if-cached", ONLY),
        ("", "max-age=90", CacheControl(max_age_seconds=90)),
        ("", "max-age=0", REFRESH),
        ("", "max-age=soon, stale-if-error", DEFAULT),
    ],
)
def test_headers_say_what_the_cache_may_do(ours: str, standard: str, control: CacheControl) -> None:
    assert read_control(ours, standard) == control


@pytest.mark.parametrize("word", ["maybe", "-1", "1.5", "9" * 10])
def test_other_words_are_refused(word: str) -> None:
    with pytest.raises(ParameterInvalid, match="x-portico-cache"):
        read_control(word)


def test_embeddings_are_only_cached_exactly() -> None:
    assert may_be_cached({"input": "x"}, TERMS, "embeddings")
    semantic = CacheTerms(**{**{name: getattr(TERMS, name) for name in TERMS.__slots__}, "is_exact": False})
    assert not may_be_cached({"input": "x"}, semantic, "embeddings")


@pytest.mark.parametrize(
    ("messages", "question"),
    [
        ([{"role": "user", "content": "a"}], "a"),
        (
            [{"role": "assistant", "content": "0"}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
            "a\nb",
        ),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "a\nb"),
    ],
    ids=["one", "two after an answer", "parts"],
)
def test_the_question_is_what_a_person_said_last(messages: list[dict[str, Any]], question: str) -> None:
    found = split_question({"messages": messages, "seed": 1})
    assert found is not None
    assert found[0] == question
    assert all(message["role"] != "user" for message in found[1]["messages"])
    assert found[1]["seed"] == 1


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        [{"role": "user", "content": " "}],
        [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}],
        [{"role": "user", "content": [{"type": "image_url"}]}],
        [{"role": "user", "content": None}],
    ],
    ids=["nothing", "empty", "blank", "a tool's answer", "an image", "no content"],
)
def test_without_a_question_nothing_is_compared(messages: Any) -> None:
    assert split_question({"messages": messages}) is None


@pytest.mark.parametrize(
    ("payload", "kind", "kept"),
    [
        ({"choices": [{"finish_reason": "stop", "message": {"content": "x"}}]}, "chat", True),
        ({"choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}]}, "chat", False),
        ({"choices": [{"finish_reason": "stop", "message": {"tool_calls": [{}]}}]}, "chat", False),
        ({"choices": [{"finish_reason": None}]}, "chat", False),
        ({"choices": []}, "chat", False),
        ({}, "chat", False),
        ({"data": [{"embedding": [1.0]}]}, "embeddings", True),
        ({"data": []}, "embeddings", False),
    ],
)
def test_only_complete_answers_are_kept(payload: dict[str, Any], kind: str, kept: bool) -> None:
    assert is_complete(payload, kind) is kept


def event(index: int = 0, finish: str | None = None, logprobs: Any = None, **delta: Any) -> Chunk:
    """Return a chunk with one delta."""
    choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
    return Chunk(orjson.dumps({"id": "c", "created": 5, "model": "m", "choices": [choice]}), finish_reason=finish)


def test_a_stream_is_put_together() -> None:
    assembler = Assembler()
    assembler.take([event(role="assistant", content=""), event(reasoning_content="Hm")])
    assembler.take([event(content="One "), event(1, content="Two"), event(content="more", reasoning_content=" so")])
    assembler.take([event(thinking_blocks=[{"index": 0, "type": "thinking", "thinking": "t", "signature": "s"}])])
    assembler.take([event(logprobs={"content": [{"token": "One"}]}), event(logprobs={"content": [{"token": "more"}]})])
    assembler.take([event(finish="stop"), event(1, finish="stop"), Chunk(b'{"choices":[]}', is_usage_chunk=True)])
    built = assembler.build()
    assert built is not None
    first, second = built["choices"]
    assert {name: built[name] for name in ("id", "created", "model", "object")} == {
        "id": "c", "created": 5, "model": "m", "object": "chat.completion",
    }  # fmt: skip
    assert first["message"] == {
        "role": "assistant",
        "content": "One more",
        "reasoning_content": "Hm so",
        "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "s"}],
    }
    assert first["logprobs"] == {"content": [{"token": "One"}, {"token": "more"}]}
    assert (second["message"]["content"], second["finish_reason"]) == ("Two", "stop")


def test_tool_calls_come_together_by_their_index() -> None:
    assembler = Assembler()
    for part in (
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":'}},
        {"index": 0, "function": {"arguments": "1}"}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ):
        assembler.take([event(tool_calls=[part])])
    built = assembler.build()
    assert built is not None
    assert [(call["id"], call["function"]) for call in built["choices"][0]["message"]["tool_calls"]] == [
        ("a", {"name": "f", "arguments": '{"x":1}'}),
        ("b", {"name": "g", "arguments": "{}"}),
    ]


def test_what_grows_too_large_is_dropped_on_the_way() -> None:
    assembler = Assembler()
    for _ in range(9):
        assembler.take([event(content="x" * MAX_BYTES)])
    assembler.take([event(content="y")])
    assert assembler.build() is None
    assert Assembler().build() is None


def target(**answer: Any) -> CachedTarget:
    """Return a target that carries an answer."""
    return CachedTarget(
        provider=KIND, kind=KIND, base_url="", credential="", upstream_model="m", answer=answer, usage=USAGE
    )


async def replay(given: CachedTarget, request: dict[str, Any]) -> list[list[Chunk]]:
    """Return the batches of a replayed stream."""
    stream = CachedProvider().stream(session=None, target=given, request=request, request_id="r")  # type: ignore[arg-type]
    return [batch async for batch in stream]


async def test_a_replayed_stream_can_be_put_together_again() -> None:
    text = "word " * (PIECE * EVENTS_PER_BATCH // 4)
    choices = [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": text,
                "reasoning_content": "because",
                "thinking_blocks": [{"type": "thinking", "thinking": "t"}, {"type": "thinking", "thinking": "u"}],
                "refusal": None,
            },
            "finish_reason": "stop",
            "logprobs": {"content": []},
        },
        {"index": 1, "message": {"role": "assistant", "content": "Two"}, "finish_reason": "stop", "logprobs": None},
    ]
    batches = await replay(target(id="c", created=5, model="m", choices=choices), {"stream": True})
    assembler = Assembler()
    for batch in batches:
        assembler.take(batch)
    built = assembler.build()
    assert built is not None
    assert len(batches) > 1
    assert built["choices"][0]["message"] == {
        name: value for name, value in choices[0]["message"].items() if value is not None
    }
    assert built["choices"][0]["logprobs"] == {"content": []}
    assert built["choices"][1]["message"]["content"] == "Two"
    assert "".join(chunk.text for batch in batches for chunk in batch) == text
    assert "".join(chunk.other_text for batch in batches for chunk in batch) == "becauseTwo"
    assert batches[-1][-1].is_usage_chunk
    assert batches[-1][-1].usage == USAGE


async def test_events_say_that_usage_is_null_where_it_was_asked_for() -> None:
    choices = [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    [batch] = await replay(target(choices=choices), asked)
    assert orjson.loads(batch[0].data)["usage"] is None
    [plain] = await replay(target(choices=choices), {"stream": True})
    assert "usage" not in orjson.loads(plain[0].data)


async def test_a_cache_has_no_models_of_its_own() -> None:
    assert await CachedProvider().list_models(session=None, target=target()) == []  # type: ignore[arg-type]


def test_vectors_are_filled_up_and_those_that_say_nothing_refused() -> None:
    fitted = fit_vector([1.0, 2.0])
    assert fitted is not None
    assert fitted[:3] == [1.0, 2.0, 0.0]
    assert len(fitted) == 3072
    assert fit_vector([0.0] * 10) is None
    assert fit_vector([1.0] * 3073) is None
    assert fit_vector([]) is None


@pytest.mark.parametrize(
    ("body", "vector"),
    [(b'{"data":[{"embedding":[0.5]}]}', [0.5]), (b'{"data":[{"embedding":"AAAA"}]}', []), (b'{"data":[]}', [])],
)
def test_a_vector_is_read_from_what_a_provider_sent(body: bytes, vector: list[float]) -> None:
    assert read_vector(Completion(body, None, None, None, None)) == vector


def test_a_lookup_takes_a_body_as_it_came() -> None:
    lookup = CacheLookup("miss", TERMS, ORGANIZATION, None, "chat", b"d")  # type: ignore[arg-type]
    completion = Completion(b'{"choices":[],"usage":{"a":1}}', None, None, None, None)
    assert lookup.answer(completion) == {"choices": []}
    assert lookup.answer(None) is None
