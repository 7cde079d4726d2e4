"""Every form of an embeddings request, and vectors as numbers or base64 whatever the provider knows."""

from __future__ import annotations

import orjson
import pytest
from openai import AsyncOpenAI

from apps.gateway.providers.embeddings import decode_vector, encode_vector, read_texts
from tests.factories.gateway import DeploymentFactory, ModelFactory, ProviderFactory
from tests.gateway.conftest import run_in_database
from tests.support.upstreams import OllamaDialect, Scenario, Upstream, run_upstream

HELLO = [9906, 289, 9603, 509]


def test_vectors_are_little_endian_floats_of_four_bytes() -> None:
    assert encode_vector([1.0, -0.5]) == "AACAPwAAAL8="
    assert decode_vector("AACAPwAAAL8=") == [1.0, -0.5]


@pytest.mark.parametrize("text", ["AAA", "AAAA", "!"])
def test_what_is_no_vector_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - base64's own words
        decode_vector(text)


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        (HELLO, ["Hello wörld"]),
        ([HELLO, HELLO[:1]], ["Hello wörld", "Hello"]),
        ([], None),
        (5, None),
        ([[]], None),
        ([[True]], None),
        ([[200_000]], None),
        ([[-1]], None),
        ([[255]], None),
    ],
)
def test_tokens_become_the_text_that_they_were(given, texts) -> None:
    assert read_texts(given) == texts


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("given", "count"), [("a text", 1), (["a", "b"], 2), (HELLO, 1), ([HELLO, HELLO[:1], HELLO[1:]], 3)]
)
@pytest.mark.parametrize("form", ["float", "base64"])
async def test_the_sdk_gets_a_vector_for_every_input(sdk: AsyncOpenAI, records, given, count: int, form: str) -> None:
    answer = await sdk.embeddings.create(model="sandbox-embedding", input=given, encoding_format=form, dimensions=8)
    vectors = [entry.embedding for entry in answer.data]
    sizes = [len(vector if form == "float" else decode_vector(vector)) for vector in vectors]
    assert sizes == [8] * count
    [record] = await records()
    assert record.prompt_tokens == answer.usage.prompt_tokens


@pytest.mark.asyncio
async def test_the_sdk_reads_base64_by_itself(sdk: AsyncOpenAI) -> None:
    asked = await sdk.embeddings.create(model="sandbox-embedding", input="a text", encoding_format="float")
    silent = await sdk.embeddings.create(model="sandbox-embedding", input="a text")
    assert silent.data[0].embedding == pytest.approx(asked.data[0].embedding, abs=1e-6)


@pytest.mark.asyncio
@pytest.mark.parametrize(("asked", "given"), [("base64", [0.5, -0.5]), ("float", "AAAAPwAAAL8=")])
async def test_a_server_that_knows_one_form_only_is_put_right(
    sdk: AsyncOpenAI, upstream: Upstream, runtime, asked: str, given
) -> None:
    await runtime.catalogue.reload()
    body = {
        "object": "list",
        "model": "upstream-model",
        "data": [{"object": "embedding", "index": 0, "embedding": given}],
    }
    upstream.play(Scenario(raw_body=orjson.dumps({**body, "usage": {"prompt_tokens": 1, "total_tokens": 1}})))
    answer = await sdk.embeddings.create(model="upstream-model", input="a", encoding_format=asked)
    assert answer.data[0].embedding == {"base64": "AAAAPwAAAL8=", "float": [0.5, -0.5]}[asked]


@pytest.mark.asyncio
async def test_tokens_reach_a_server_of_texts_as_text(sdk: AsyncOpenAI, runtime, settings, data_dir) -> None:
    async with run_upstream(OllamaDialect()) as server:

        def deploy() -> None:
            named = {"name": "Ollama", "base_url": server.origin, "credential": ""}
            settings.GATEWAY_PROVIDERS = {**settings.GATEWAY_PROVIDERS, "ollama": named}
            provider = ProviderFactory(slug="ollama", kind="ollama", from_environment=True)
            DeploymentFactory(model=ModelFactory(name="nomic", capabilities=["embeddings"]), provider=provider)

        await run_in_database(deploy)
        await runtime.catalogue.reload()
        await sdk.embeddings.create(model="nomic", input=[HELLO, HELLO[:1]], encoding_format="float")
        assert server.received[0].body["input"] == ["Hello wörld", "Hello"]
