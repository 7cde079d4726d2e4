"""The playground's analysis of a text: who may, what each analysis brings, what is said when one cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient, Client

from apps.billing.models import Price, UsageRecord
from apps.core.actor import Actor
from apps.gateway import views
from apps.gateway.choices import Analysis, LimitScope
from apps.gateway.models import Model
from apps.gateway.runtime import Runtime
from apps.gateway.services import analysing
from apps.gateway.services.analysis import LONGEST_SOURCE, Title
from apps.users.selectors import actor_of_user
from tests.factories.billing import BudgetFactory
from tests.factories.gateway import LimitFactory
from tests.factories.users import MembershipFactory, UserFactory
from tests.gateway.conftest import LONG_AGO, run_in_database
from tests.support.upstreams import Scenario, Upstream

PAGE = "/admin/playground/analysis"
RUN = "/admin/playground/analysis/run"
TEXT = "The new espresso machine is wonderful. Anna Keller of Acme Ltd pays $20. The espresso machine heats up quickly."
ALL = [analysis.value for analysis in Analysis]
Records = Callable[[], Awaitable[list[UsageRecord]]]


def staff_client(*, is_staff: bool = True, **options: Any) -> Client:
    """Return the logged-in client of a member of an organization."""
    client = Client(**options)
    client.force_login(MembershipFactory(user__is_staff=is_staff).user)
    return client


def read_events(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of a stream."""
    blocks = [block.split("\n") for block in body.decode().split("\n\n") if block and not block.startswith(":")]
    return [(event.removeprefix("event: "), orjson.loads(data.removeprefix("data: "))) for event, data in blocks]


@pytest.fixture
async def person(runtime: Runtime) -> Actor:
    """Return who calls: a member of staff who belongs to an organization."""
    return await run_in_database(lambda: actor_of_user(user=MembershipFactory(user__is_staff=True).user))


@pytest.fixture
async def model(upstream: Upstream, runtime: Runtime) -> Upstream:
    """Return the server behind `upstream-model`, which can structured output."""
    await run_in_database(lambda: Model.objects.filter(name="upstream-model").update(capabilities=["chat", "json"]))
    await run_in_database(lambda: Model.objects.filter(name="sandbox-small").update(is_sandbox=True))
    await runtime.catalogue.reload()
    return upstream


async def run_analyses(actor: Actor, *analyses: Analysis, model: str = "", text: str = TEXT) -> dict[str, Any]:
    """Return what the stream says of each analysis, and of the run."""
    wanted = {"text": text, "analyses": list(analyses), "model": model}
    body = b"".join([piece async for piece in views._stream_analyses(actor, wanted)])
    return {data.get("analysis", "run"): data for _, data in read_events(body)}


def test_the_page_is_for_staff(db: None) -> None:
    assert Client().get(PAGE).status_code == 302
    assert staff_client(is_staff=False).get(PAGE)["Location"].startswith("/admin/login/")
    answer = staff_client().get(PAGE)
    nonce = answer.wsgi_request.csp_nonce
    page = answer.content.decode()
    assert f'gateway/analysis.js" nonce="{nonce}"' in page
    assert "of at most 48,000 characters" in page
    assert [f'value="{value}"' in page for value in ALL] == [True] * 7
    assert page.count(" checked>") == 3
    assert "you belong to none" not in page


def test_each_way_of_the_playground_leads_to_the_other(db: None) -> None:
    client = staff_client()
    assert f'<a href="{PAGE}">Analyse a text</a>' in client.get("/admin/playground").content.decode()
    assert '<a href="/admin/playground">Compare models</a>' in client.get(PAGE).content.decode()


def test_who_belongs_to_no_organization_is_told_so(db: None) -> None:
    client = Client()
    client.force_login(UserFactory(is_staff=True))
    assert "you belong to none" in client.get(PAGE).content.decode()


def test_running_is_for_staff_by_post_and_from_our_own_page(db: None) -> None:
    form = {"text": TEXT, "analyses": ["title"]}
    assert Client().post(RUN, form)["Location"].startswith("/admin/login/")
    assert staff_client(is_staff=False).post(RUN, form)["Location"].startswith("/admin/login/")
    assert staff_client().get(RUN).status_code == 405
    assert staff_client(enforce_csrf_checks=True).post(RUN, form).status_code == 403


@pytest.mark.parametrize(
    ("form", "field", "words"),
    [
        ({"analyses": ["title"]}, "text", "There is no text: paste the one that should be analysed."),
        ({"text": " \n ", "analyses": ["title"]}, "text", "There is no text: paste the one that should be analysed."),
        (
            {"text": "é" * (LONGEST_SOURCE + 1), "analyses": ["title"]},
            "text",
            "The text has 48,001 characters, and 48,000 are the most: shorten it, or analyse it in parts.",
        ),
        ({"text": TEXT}, "analyses", "No analysis is chosen: choose at least one."),
        (
            {"text": TEXT, "analyses": ["mood"]},
            "analyses",
            "There is no analysis 'mood': reload the page and choose again.",
        ),
        (
            {"text": TEXT, "analyses": ["title"], "model": "m" * 201},
            "model",
            "The model's name is longer than 200 characters: choose one of the list.",
        ),
    ],
    ids=["no-text", "blank-text", "long-text", "no-analysis", "unknown-analysis", "long-model"],
)
def test_what_the_form_refuses_is_a_problem_that_names_the_field(
    db: None, form: dict[str, Any], field: str, words: str
) -> None:
    answer = staff_client().post(RUN, form)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert (answer.json()["detail"], answer.json()["errors"]) == ("Nothing was analysed.", {field: [words]})


def test_the_longest_text_is_taken_with_the_line_ends_of_a_browser() -> None:
    form = views.AnalysisForm({"text": "a\r\n" * (LONGEST_SOURCE // 2), "analyses": ["moderation", "title"]})
    assert form.is_valid()
    assert form.cleaned_data["text"] == ("a\n" * (LONGEST_SOURCE // 2)).strip()
    assert form.cleaned_data["analyses"] == [Analysis.TITLE, Analysis.MODERATION]


async def test_the_page_gets_an_event_stream(runtime: Runtime) -> None:
    member = await run_in_database(lambda: MembershipFactory(user__is_staff=True))
    client = AsyncClient()
    await sync_to_async(client.force_login)(member.user)
    answer = await client.post(RUN, {"text": TEXT, "analyses": ["title"]})
    body = b"".join([piece async for piece in answer])  # type: ignore[attr-defined]
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream")
    assert ("no-store" in answer["Cache-Control"], answer["X-Accel-Buffering"]) == (True, "no")
    assert [event for event, _ in read_events(body)] == ["analysis.done", "run.done"]


async def test_the_built_in_way_finds_everything_and_calls_nobody(
    model: Upstream, person: Actor, records: Records
) -> None:
    found = await run_analyses(person, *Analysis)
    assert set(found) == {*ALL, "run"}
    told = [(found[name]["method"], found[name]["reason"], found[name]["error"]) for name in ALL]
    assert told == [("fallback", "asked", None)] * 7
    assert found["summary"]["finding"]["text"].startswith("The new espresso machine")
    assert found["title"]["finding"] == {"text": "The new espresso machine is wonderful"}
    assert found["tags"]["finding"]["tags"][0] == "espresso machine"
    assert (found["sentiment"]["finding"]["label"], found["sentiment"]["finding"]["score"] > 0) == ("positive", True)
    assert found["topics"]["finding"]["topics"][0]["name"] == "espresso machine"
    assert found["entities"]["finding"]["kinds"] == [
        {"kind": "Person", "names": ["Anna Keller"]},
        {"kind": "Organization", "names": ["Acme Ltd"]},
        {"kind": "Amount of money", "names": ["$20"]},
    ]
    assert found["moderation"]["finding"]["is_flagged"] is False
    assert set(found["moderation"]["finding"]["scores"].values()) == {0.0}
    assert found["run"] == {"cost_micros": 0}
    assert (model.received, await records()) == ([], [])


async def test_a_model_is_asked_on_account_of_the_person(model: Upstream, person: Actor, records: Records) -> None:
    model.play(Scenario(pieces=('{"title": "Machines"}',)))
    found = await run_analyses(person, Analysis.TITLE, model="upstream-model")
    title = found["title"]
    assert (title["finding"], title["method"], title["model"]) == ({"text": "Machines"}, "model", "upstream-model")
    assert (title["reason"], title["reason_in_words"]) == (None, "")
    record = (await records())[0]
    assert (record.endpoint, record.user_id, record.organization_id) == (
        "playground.analysis",
        person.user_id,
        person.organization_id,
    )
    assert found["run"]["cost_micros"] == title["cost_micros"] == record.cost_micros


async def test_the_costs_of_all_are_summed(person: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(**asked: Any) -> Title:
        return Title(text="x", cost_micros=7)

    monkeypatch.setattr(analysing, "_SERVICES", {Analysis.TITLE: answer, Analysis.SUMMARY: answer})
    assert (await run_analyses(person, Analysis.TITLE, Analysis.SUMMARY))["run"] == {"cost_micros": 14}


async def test_nonsense_is_said_to_be_none_of_the_models(model: Upstream, person: Actor) -> None:
    model.play(Scenario(pieces=("I would rather talk about cats.",)))
    title = (await run_analyses(person, Analysis.TITLE, model="upstream-model"))["title"]
    assert (title["method"], title["reason"], title["error"]) == ("fallback", "form", None)
    assert title["reason_in_words"] == "the model twice gave an answer without the form that was asked for"
    assert title["finding"] == {"text": "The new espresso machine is wonderful"}


async def test_the_sandbox_is_said_not_to_be_asked(model: Upstream, person: Actor) -> None:
    title = (await run_analyses(person, Analysis.TITLE, model="sandbox-small"))["title"]
    assert (title["method"], title["reason"], title["error"]) == ("fallback", "sandbox", None)


async def test_a_spent_budget_is_told_where_it_happened(model: Upstream, person: Actor, runtime: Runtime) -> None:
    price = dict.fromkeys(("input_micros", "output_micros", "cached_micros", "cache_write_micros"), 1_000_000)
    await run_in_database(
        lambda: Price.objects.create(provider="openai", model="upstream-model", valid_from=LONG_AGO, **price)
    )
    await run_in_database(lambda: BudgetFactory(organization_id=person.organization_id, hard_micros=1))
    await runtime.catalogue.reload()
    found = await run_analyses(person, Analysis.TITLE, Analysis.SENTIMENT, model="upstream-model")
    for name in ("title", "sentiment"):
        assert (found[name]["error"]["status"], found[name]["error"]["code"]) == (402, "billing.budget_exceeded")
        assert (found[name]["method"], found[name]["reason"]) == ("fallback", "refused")
    assert found["title"]["finding"] == {"text": "The new espresso machine is wonderful"}
    assert model.received == []


async def test_a_limit_that_is_reached_is_told_and_what_came_before_it_stays(model: Upstream, person: Actor) -> None:
    await run_in_database(lambda: LimitFactory(scope=LimitScope.USER, requests_per_minute=1))
    model.play(Scenario(pieces=('{"title": "Machines"}',)))
    first = await run_analyses(person, Analysis.TITLE, model="upstream-model")
    second = await run_analyses(person, Analysis.TITLE, model="upstream-model")
    assert (first["title"]["method"], first["title"]["error"]) == ("model", None)
    assert (second["title"]["method"], second["title"]["error"]["status"]) == ("fallback", 429)
    assert second["title"]["error"]["code"] == "gateway.request_limit_reached"


async def test_an_unknown_model_is_an_error_of_each_analysis(model: Upstream, person: Actor) -> None:
    found = await run_analyses(person, Analysis.TITLE, model="no-such-model")
    assert found["title"]["error"]["code"] == "gateway.model_unknown"
    assert (found["title"]["finding"], found["title"]["method"]) == (None, None)
    assert found["run"] == {"cost_micros": 0}


async def test_a_defect_stops_no_other_analysis(person: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(**asked: Any) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(analysing, "_SERVICES", {**analysing._SERVICES, Analysis.TAGS: break_down})
    found = await run_analyses(person, Analysis.TAGS, Analysis.TITLE)
    assert found["tags"]["error"]["code"] == "internal_error"
    assert "secret" not in found["tags"]["error"]["detail"]
    assert found["title"]["error"] is None


async def test_so_many_run_at_once_and_leaving_stops_them(person: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    book = SimpleNamespace(begun=0, stopped=0, is_full=asyncio.Event())

    async def wait(**asked: Any) -> None:
        book.begun += 1
        if book.begun == analysing.MOST_AT_ONCE:
            book.is_full.set()
        try:
            await asyncio.Event().wait()
        finally:
            book.stopped += 1

    monkeypatch.setattr(analysing, "_SERVICES", dict.fromkeys(Analysis, wait))
    monkeypatch.setattr(views, "PING_SECONDS", 0.01)
    stream = views._stream_analyses(person, {"text": TEXT, "analyses": list(Analysis), "model": ""})
    assert await anext(stream) == views.PING
    await book.is_full.wait()
    await stream.aclose()  # type: ignore[attr-defined]
    assert (book.begun, book.stopped) == (analysing.MOST_AT_ONCE, analysing.MOST_AT_ONCE)


async def test_what_is_ready_comes_first(person: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    is_told = asyncio.Event()

    async def wait(**asked: Any) -> Title:
        await is_told.wait()
        return Title(text="late")

    async def answer(**asked: Any) -> Title:
        return Title(text="early")

    monkeypatch.setattr(analysing, "_SERVICES", {Analysis.SUMMARY: wait, Analysis.TITLE: answer})
    results: AsyncIterator[analysing.Analysed] = analysing.analyse_text(
        actor=person, text=TEXT, analyses=[Analysis.SUMMARY, Analysis.TITLE]
    )
    assert (await anext(results)).analysis is Analysis.TITLE
    is_told.set()
    assert (await anext(results)).analysis is Analysis.SUMMARY
