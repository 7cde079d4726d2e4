"""The blocking OpenAI SDK in front of the real server: every resource that Portico answers, once."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from pydantic import BaseModel

from apps.billing.models import UsageRecord
from tests.gateway.test_edge_served import Served

MODEL = "sandbox-small"


class Answer(BaseModel):
    """What the sandbox makes up for a schema."""

    title: str
    count: int


@pytest.fixture
def server(sandbox, key, data_dir) -> Iterator[Served]:
    """Return a running server over the sandbox."""
    found = Served()
    yield found
    found.stop()


def test_the_blocking_sdk_knows_its_way_around(server: Served, secret: str) -> None:
    with server.sdk(secret) as sdk:
        # Responses: made, read, followed, gone on from, listed, cancelled, deleted.
        whole = sdk.responses.create(model=MODEL, input="[echo:good day]")
        with sdk.responses.stream(model=MODEL, input="[echo:good day]") as stream:
            streamed = stream.get_final_response()
        with sdk.responses.stream(response_id=streamed.id, starting_after=3) as stream:
            resumed = stream.get_final_response()
        assert whole.output_text == streamed.output_text == resumed.output_text == "good day"
        assert sdk.responses.retrieve(whole.id).to_dict() == whole.to_dict()
        parsed = sdk.responses.parse(model=MODEL, input="A title", text_format=Answer, previous_response_id=whole.id)
        assert isinstance(parsed.output_parsed, Answer)
        listed = [
            item.to_dict()["content"][0]["text"] for item in sdk.responses.input_items.list(parsed.id, order="asc")
        ]
        assert listed == ["[echo:good day]", "good day", "A title"]
        begun = sdk.responses.create(model=MODEL, input="[long:2000][slow:20]", background=True)
        assert sdk.responses.cancel(begun.id).status == "cancelled"
        sdk.responses.delete(whole.id)
        with pytest.raises(openai.NotFoundError):
            sdk.responses.retrieve(whole.id)
        # Everything else.
        chat = sdk.chat.completions.parse(
            model=MODEL, messages=[{"role": "user", "content": "A title"}], response_format=Answer
        )
        assert isinstance(chat.choices[0].message.parsed, Answer)
        assert sdk.completions.create(model=MODEL, prompt="[echo:a]").choices[0].text == "a"
        assert len(sdk.embeddings.create(model="sandbox-embedding", input=["a", "b"]).data) == 2
        assert sdk.moderations.create(input="The sky is blue.").results[0].flagged is False
        assert MODEL in [model.id for model in sdk.models.list()]
    server.stop()
    counted = sorted(UsageRecord.objects.values_list("endpoint", flat=True))
    assert counted == ["chat.completions", "completions", "embeddings", "moderations", *["responses"] * 4]
