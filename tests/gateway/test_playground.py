"""The playground: for staff alone, and what it does in a real browser."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, expect
from pytest_django import Settings

from apps.core.embedded.state import choose_port
from apps.gateway.models import Provider
from apps.gateway.runtime.state import close_journal
from apps.users.models import Membership
from project.asgi import application
from tests.factories.gateway import DeploymentFactory
from tests.factories.users import MembershipFactory, UserFactory
from tests.support.browser import Watch, find_chromium, open_browser

PATH = "/admin/playground"
PATIENCE = 15_000
QUESTION = "Why is the sky blue?"


def staff_client() -> Client:
    """Return a client of a member of staff who belongs to no organization."""
    client = Client()
    client.force_login(UserFactory(is_staff=True))
    return client


def test_it_is_for_staff(db: None) -> None:
    person = Client()
    person.force_login(UserFactory())
    assert Client().get(PATH).status_code == 302
    assert person.get(PATH)["Location"].startswith("/admin/login/")
    assert staff_client().get(PATH).status_code == 200


def test_its_script_is_let_in_by_the_policy(db: None) -> None:
    answer = staff_client().get(PATH)
    nonce = answer.wsgi_request.csp_nonce
    assert f"'nonce-{nonce}'" in answer["Content-Security-Policy"]
    assert f'gateway/playground.js" nonce="{nonce}"' in answer.content.decode()


def test_who_belongs_to_no_organization_is_told_so(db: None) -> None:
    member = MembershipFactory(user__is_staff=True)
    client = Client()
    client.force_login(member.user)
    assert "you belong to none" in staff_client().get(PATH).content.decode()
    assert "you belong to none" not in client.get(PATH).content.decode()


def test_the_navigation_leads_there(db: None) -> None:
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    assert f'href="{PATH}"' in client.get(reverse("admin:index")).content.decode()


@pytest.fixture
def person(transactional_db: None) -> Membership:
    """Return a member of staff with an organization."""
    return MembershipFactory(user__is_staff=True, user__is_superuser=True)


@pytest.fixture
def address(sandbox: Provider, data_dir: Path) -> Iterator[str]:
    """Serve the application on a free port; return its address."""
    DeploymentFactory(model__name="sandbox-large", provider=sandbox)
    port = choose_port()
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=port, log_level="error", lifespan="on"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)
    close_journal()


@pytest.fixture
def page(address: str, person: Membership, settings: Settings) -> Iterator[Page]:
    """Return the playground in a browser, logged in; nothing may complain."""
    settings.ALLOWED_HOSTS = ["*"]
    client = Client()
    client.force_login(person.user)
    with open_browser(find_chromium()) as browser:
        context = browser.new_context(base_url=address)
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": address}])
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE)
        watch = Watch(opened)
        opened.goto(PATH)
        opened.wait_for_selector("#pg-models input")
        yield opened
        assert watch.complaints == []
        context.close()


def figures(page: Page) -> Any:
    """Return the figures of the answers."""
    return page.locator(".pg-figures")


@pytest.mark.e2e
def test_models_answer_side_by_side_and_the_page_says_what_it_did(page: Page) -> None:
    page.get_by_role("checkbox", name="sandbox-large").check()
    page.get_by_role("checkbox", name="sandbox-small").check()
    page.get_by_label("What is said").fill(QUESTION)
    page.keyboard.press("Control+Enter")
    expect(figures(page)).to_have_count(2, timeout=PATIENCE)
    expect(page.locator(".pg-answer").first).to_contain_text(QUESTION)
    expect(page.locator(".pg-state").first).to_have_text("complete")
    expect(page.get_by_role("row", name="sandbox-large and sandbox-small")).to_contain_text("%")
    record = page.get_by_role("link", name="Usage record", exact=True).first.get_attribute("href")
    assert record is not None
    assert record.startswith("/admin/billing/usagerecord/?q=req_")

    page.get_by_role("button", name="Continue from here").first.click()
    expect(page.get_by_label("What is said")).to_have_count(3)
    page.locator("#pg-code summary").click()
    page.get_by_role("tab", name="cURL").click()
    expect(page.locator("#pg-snippet")).to_contain_text("/api/v3/models/compare")
    page.get_by_role("checkbox", name="sandbox-large").uncheck()
    page.keyboard.press("Tab")
    page.get_by_role("tab", name="cURL").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#pg-snippet")).to_contain_text("client.chat.completions.create(")

    page.get_by_label("Tools").fill("{")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("The list of tools is not valid JSON")
    page.get_by_label("Tools").fill("")
    page.get_by_label("What is said").last.fill("[slow:200][long:200]")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".pg-state")).to_have_text("stopped")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()


@pytest.mark.e2e
def test_a_text_is_analysed_and_each_finding_has_a_fitting_form(page: Page) -> None:
    page.get_by_role("link", name="Analyse a text").click()
    expect(page.locator("#an-chosen")).to_have_text("3 of 7 chosen")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no text")
    expect(page.get_by_role("textbox", name="Text")).to_be_focused()

    page.get_by_role("textbox", name="Text").fill("x" * 48_001)
    expect(page.locator("#an-length[data-over]")).to_have_text("48,001 of at most 48,000 characters")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("shorten it, or analyse it in parts")

    page.get_by_role("textbox", name="Text").fill(
        "<b>Anna Keller</b> loves the new espresso machine. The espresso machine is wonderful."
    )
    page.get_by_role("button", name="Choose all").click()
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".an-result .pg-state")).to_have_text(["ready"] * 7, timeout=PATIENCE)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_role("article", name="Summary")).to_contain_text("<b>Anna Keller</b> loves")
    expect(page.get_by_role("article", name="Tags").get_by_role("listitem").first).to_have_text("espresso machine")
    expect(page.get_by_role("article", name="Sentiment").get_by_role("img")).to_have_accessible_name(
        re.compile(r"^\+0\.\d\d on a scale from -1, negative, to 1, positive$")
    )
    expect(page.get_by_role("article", name="Topics").get_by_role("listitem").first).to_contain_text("%")
    expect(page.get_by_role("article", name="Entities").get_by_role("term")).to_contain_text(["Person"])
    expect(page.get_by_role("article", name="Moderation")).to_contain_text("Not flagged")
    expect(page.locator("#an-sum")).to_contain_text("7 analyses")
    expect(page.get_by_role("status").last).to_contain_text("7 of 7. All ready. Cost in all $0.")

    page.get_by_role("button", name="Choose none").click()
    page.get_by_role("checkbox", name="Title").check()
    page.get_by_label("Who finds it").select_option("sandbox-small")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".an-result .pg-state")).to_have_text(["ready"], timeout=PATIENCE)
    expect(page.get_by_role("article", name="Title")).to_contain_text("Found by")

    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("Your session has ended")
    expect(page.get_by_role("button", name="Run")).to_be_enabled()
