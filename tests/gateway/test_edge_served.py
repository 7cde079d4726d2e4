"""The edge behind the real server, with the blocking SDK: sockets, keep-alive, large bodies, start and end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import httpx
import openai
import pytest
import uvicorn
from django.db import OperationalError
from openai import OpenAI

from apps.billing.models import UsageRecord
from apps.gateway.edge import GatewayApplication
from apps.gateway.runtime import callers, state
from apps.gateway.runtime import catalogue as catalogue_module

HELLO = [{"role": "user", "content": "[echo:good day to you]"}]


class Served:
    """A server in a thread."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        config = uvicorn.Config(
            GatewayApplication(), loop="uvloop", http="httptools", log_config=None, access_log=False, lifespan="on"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.thread.start()

    def sdk(self, secret: str, **options) -> OpenAI:
        """Return the official SDK for this server."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=secret, max_retries=0, **options)

    def stop(self) -> None:
        """End the server as a signal would."""
        self.server.should_exit = True
        self.thread.join(timeout=15)
        assert not self.thread.is_alive()


@pytest.fixture
def served(sandbox, key, data_dir) -> Iterator[Served]:
    """Return a running server over the sandbox."""
    found = Served()
    yield found
    found.stop()


def test_the_blocking_sdk_gets_answers_streams_and_embeddings(served: Served, secret: str) -> None:
    with served.sdk(secret) as sdk:
        whole = sdk.chat.completions.create(model="sandbox-small", messages=HELLO)
        stream = sdk.chat.completions.create(model="sandbox-small", messages=HELLO, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        vectors = sdk.embeddings.create(model="sandbox-embedding", input="x")
    assert whole.choices[0].message.content == text == "good day to you"
    assert len(vectors.data[0].embedding) == 256


def test_usage_has_arrived_when_the_server_has_ended(served: Served, secret: str) -> None:
    with served.sdk(secret) as sdk:
        for _ in range(3):
            sdk.chat.completions.create(model="sandbox-small", messages=HELLO)
    served.stop()
    assert UsageRecord.objects.filter(status="ok").count() == 3


def test_a_body_of_fifty_megabytes_is_413_for_the_sdk(served: Served, secret: str) -> None:
    huge = [{"role": "user", "content": "x" * 50_000_000}]
    with served.sdk(secret) as sdk:
        with pytest.raises(openai.APIStatusError) as refused:
            sdk.chat.completions.create(model="sandbox-small", messages=huge)
        assert refused.value.status_code == 413
        assert sdk.chat.completions.create(model="sandbox-small", messages=HELLO).usage is not None


def test_a_stranger_with_a_large_body_hears_401(served: Served) -> None:
    huge = [{"role": "user", "content": "x" * 10_000_000}]
    with served.sdk("not-a-key-not-a-key-not-a-key-not") as sdk, pytest.raises(openai.AuthenticationError):
        sdk.chat.completions.create(model="sandbox-small", messages=huge)


def test_a_client_that_hangs_up_is_metered(served: Served, secret: str) -> None:
    asked = {"model": "sandbox-small", "stream": True, "messages": [{"role": "user", "content": "[long:500][slow:50]"}]}
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.stream("POST", f"{served.url}/v1/chat/completions", json=asked, headers=headers) as answer:
        next(answer.iter_bytes())
    served.stop()
    [record] = UsageRecord.objects.all()
    assert (record.status, record.is_estimated) == ("cancelled", True)
    assert 0 < record.completion_tokens < 500


def test_it_starts_and_answers_503_while_the_database_is_down(
    sandbox, data_dir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OperationalError("the database is down")

    monkeypatch.setattr(callers, "find_caller", refuse)
    monkeypatch.setattr(state, "Catalogue", lambda loader: catalogue_module.Catalogue(loader, load=refuse))
    found = Served()
    try:
        answer = httpx.get(f"{found.url}/v1/models", headers={"x-api-key": "any-key-of-more-than-thirty-two-letters"})
    finally:
        found.stop()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "gateway.caller_unreachable"
    assert int(answer.headers["retry-after"]) >= 1
