"""A provider's moderation model, for policies that name one."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from apps.core.http import HttpSession
from apps.gateway.errors import ContentBlocked
from apps.gateway.providers.base import Target, UpstreamError
from apps.gateway.selectors import Snapshot
from apps.gateway.services.guarding import moderating
from apps.gateway.services.guarding.moderating import ask_moderation_model, find_moderation_route, read_scores
from tests.gateway.conftest import LONG_AGO, offline_entry
from tests.gateway.guards.policies import make_policy
from tests.gateway.test_guarding import chat, make_screen


class FakeRuntime:
    """A catalogue with one provider of OpenAI's format, and a session."""

    def __init__(self, base_url: str, session: HttpSession | None) -> None:
        target = Target("openai", "openai", base_url, "sk-x", "gpt")
        self.catalogue = self
        self.snapshot = Snapshot(models={"m": offline_entry("m", targets=(target,))}, taken_at=LONG_AGO)
        self._session = session

    def session_for(self, route: object) -> HttpSession | None:
        return self._session


async def serve(answer: dict[str, Any] | int) -> tuple[web.AppRunner, str]:
    async def respond(request: web.Request) -> web.Response:
        if isinstance(answer, int):
            return web.json_response({"error": {"message": "no"}}, status=answer)
        return web.json_response(answer)

    app = web.Application()
    app.router.add_post("/v1/moderations", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        (
            {
                "results": [
                    {"category_scores": {"hate": 0.9, "self-harm": None}},
                    {"category_scores": {"hate": 0.2, "violence": 1}},
                ]
            },
            {"hate": 0.9, "violence": 1.0},
        ),
        (500, {}),
    ],
    ids=["judged", "failed"],
)
async def test_scores_are_the_highest_of_all_results_and_a_failure_says_nothing(
    answer: dict[str, Any] | int, scores: dict[str, float]
) -> None:
    runner, base_url = await serve(answer)
    try:
        async with HttpSession() as session:
            runtime: Any = FakeRuntime(base_url, session)
            assert await ask_moderation_model("omni-moderation-latest", "text", runtime=runtime) == scores
            assert await ask_moderation_model("omni-moderation-latest", "  ", runtime=runtime) == {}
    finally:
        await runner.cleanup()


def test_an_answer_without_scores_is_none() -> None:
    with pytest.raises(UpstreamError):
        read_scores({"results": [{}, "x"]})


def test_without_a_provider_of_the_format_there_is_nobody_to_ask() -> None:
    assert find_moderation_route(Snapshot(models={"m": offline_entry("m")}, taken_at=LONG_AGO), "omni") is None


async def test_a_score_above_the_threshold_blocks_for_the_policy_that_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, scores = [], iter([0.5, 0.7])

    async def judge(model: str, text: str, *, runtime: object) -> dict[str, float]:
        asked.append((model, text))
        return {"hate": next(scores)}

    monkeypatch.setattr("apps.gateway.services.guarding.screening.ask_moderation_model", judge)
    policy = make_policy(input={"moderation": "block"}, moderation_model="omni", moderation_thresholds={"hate": 0.6})
    runtime: Any = FakeRuntime("http://127.0.0.1:9", None)
    screen = make_screen(chat("veiled words"), policy)
    screen._runtime = runtime

    await screen.read_prompt()
    assert screen.findings == {}
    with pytest.raises(ContentBlocked) as refused:
        await screen.read_prompt()

    assert asked == [("omni", "veiled words")] * 2
    assert "hate" in refused.value.message
    assert moderating.WAIT_SECONDS <= 5
