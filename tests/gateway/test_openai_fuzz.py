"""The paths of /v1, fuzzed from the API document: whatever is sent, no answer is a failure of ours.

Always the same examples: what fails once fails again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from apps.gateway.edge import GatewayApplication
from apps.gateway.runtime import get_runtime
from apps.gateway.runtime.state import close_journal

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.yaml"
EXAMPLES = 8
MODELS = ["sandbox-small", "sandbox-embedding"]


def load_document() -> dict[str, Any]:
    """Return the part of the document about /v1, its models such that most requests get past the first check."""
    document = yaml.load(DOCUMENT.read_bytes(), Loader=yaml.CSafeLoader)
    document["paths"] = {path: operations for path, operations in document["paths"].items() if path.startswith("/v1/")}
    for operations in document["paths"].values():
        for operation in operations.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            if "model" in body.get("properties", {}):
                body["properties"]["model"] = {"enum": MODELS}
    return document


SCHEMA = schemathesis.openapi.from_dict(load_document())
OPERATIONS = {f"{one.ok().method.upper()} {one.ok().path}": one.ok() for one in SCHEMA.get_all_operations()}


class Door:
    """The edge, in a loop of its own."""

    def __init__(self, secret: str) -> None:
        self._runner = asyncio.Runner()
        self._secret = secret
        self._runner.run(self._open())

    def send(self, case: schemathesis.Case) -> httpx.Response:
        """Send a case; the answer is complete."""
        asked = case.as_transport_kwargs(base_url="http://portico")
        asked["headers"] = {**asked["headers"], "authorization": f"Bearer {self._secret}"}
        if "data" in asked:
            asked["content"] = asked.pop("data")
        asked = {name: value for name, value in asked.items() if name in ACCEPTED and value is not None}
        return self._runner.run(self._http.request(**asked))

    def close(self) -> None:
        """End as a server does."""
        self._runner.run(self._close())
        self._runner.close()

    async def _open(self) -> None:
        self._runtime = get_runtime()
        await self._runtime.catalogue.ready()
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=GatewayApplication()), base_url="http://portico"
        )

    async def _close(self) -> None:
        await self._http.aclose()
        await self._runtime.close()
        await self._runtime.loop.run_in_executor(None, close_journal)


ACCEPTED = frozenset({"method", "url", "headers", "params", "cookies", "json", "content"})


@pytest.fixture
def door(sandbox, secret: str, data_dir) -> Iterator[Door]:
    """Return the edge over the sandbox."""
    found = Door(secret)
    yield found
    found.close()


def test_the_document_knows_the_paths_of_openai() -> None:
    assert {
        "POST /v1/chat/completions",
        "POST /v1/completions",
        "POST /v1/embeddings",
        "POST /v1/moderations",
        "POST /v1/responses",
        "GET /v1/responses/{response_id}",
        "DELETE /v1/responses/{response_id}",
        "POST /v1/responses/{response_id}/cancel",
        "GET /v1/responses/{response_id}/input_items",
        "GET /v1/models",
        "GET /v1/models/{model}",
    } <= set(OPERATIONS)


def test_nothing_that_is_sent_makes_us_fail(door: Door) -> None:
    seen: dict[str, list[int]] = {}

    def try_all(name: str, mode: GenerationMode) -> None:
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=OPERATIONS[name].as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case) -> None:
            answer = door.send(case)
            seen.setdefault(name, []).append(answer.status_code)
            assert answer.status_code < 500, f"{name}: {answer.status_code} {answer.text[:300]} for {case.body!r}"

        check()

    for name in sorted(OPERATIONS):
        try_all(name, GenerationMode.POSITIVE)
    for name in sorted(name for name, one in OPERATIONS.items() if one.body):
        try_all(name, GenerationMode.NEGATIVE)
    assert 200 in seen["POST /v1/responses"]
    assert 400 in seen["POST /v1/responses"]
