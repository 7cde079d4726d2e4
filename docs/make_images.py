"""Take the screenshots of the guides from a running Portico, with Debian's Chromium.

    python docs/make_images.py http://127.0.0.1:8000 EMAIL PASSWORD [CHROMIUM]

The person's conversations are in the pictures, so a fresh installation gives the best ones. Everything is asked of the
sandbox model: the pictures cost nothing and look the same each time, but for the dates.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

IMAGES = Path(__file__).parent / "images"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
OLDER_QUESTIONS = [
    "Plan a week of simple vegetarian dinners",
    "Draft a reply to the supplier",
    "Name three lighthouses",
]
# Chosen so that the sandbox answers with a table and with code.
QUESTIONS = ["What did I just send you?", "How do I read a CSV file in Python?"]


def take(page: Page, name: str) -> None:
    """Write one picture once fonts and transitions are through."""
    page.evaluate("document.fonts.ready")
    page.mouse.move(1, 1)
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled", caret="hide")


def log_in(page: Page, email: str, password: str) -> None:
    """Log in through the page."""
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password", exact=False).fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/chat$"))


def pick_sandbox(page: Page) -> None:
    """Choose the sandbox among the models."""
    page.get_by_role("button", name=re.compile("^Model:")).click()
    page.get_by_role("option", name=re.compile("sandbox", re.IGNORECASE)).first.click()


def ask(page: Page, text: str) -> None:
    """Ask in the open conversation and wait for the answer."""
    field = page.get_by_label("Message", exact=True)
    field.fill(text)
    field.press("Enter")
    expect(page.locator(".usage").last).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def take_desktop(browser: Browser, base_url: str, email: str, password: str) -> tuple[str, dict]:
    """Take the pictures of a wide screen; return the last conversation's address and the session."""
    with browser.new_context(base_url=base_url, viewport=DESKTOP, reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto("/login?next=/chat")
        take(page, "login")
        log_in(page, email, password)
        pick_sandbox(page)
        for question in OLDER_QUESTIONS:
            ask(page, question)
            page.get_by_role("button", name="New chat").first.click()
        take(page, "chat-welcome")
        for question in QUESTIONS:
            ask(page, question)
        take(page, "chat")
        page.get_by_role("button", name=re.compile("^Model:")).click()
        take(page, "chat-models")
        page.goto("/keys")
        take(page, "api-keys")
        page.goto("/chat")
        page.locator(".shelf-link").first.click()
        expect(page.locator(".usage")).to_have_count(len(QUESTIONS))
        return page.url, context.storage_state()


def take_others(browser: Browser, address: str, session: dict) -> None:
    """Take the same conversation in the dark and on a phone."""
    screens = {
        "chat-dark": {"viewport": DESKTOP, "color_scheme": "dark"},
        "chat-phone": {"viewport": PHONE, "device_scale_factor": 2, "has_touch": True, "is_mobile": True},
    }
    for name, screen in screens.items():
        with browser.new_context(storage_state=session, reduced_motion="reduce", **screen) as context:
            page = context.new_page()
            page.goto(address)
            expect(page.locator(".usage")).to_have_count(len(QUESTIONS))
            take(page, name)


def main(base_url: str, email: str, password: str, chromium: str | None = None) -> None:
    """Take them all."""
    IMAGES.mkdir(exist_ok=True)
    path = chromium or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        address, session = take_desktop(browser, base_url, email, password)
        take_others(browser, address, session)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) not in {4, 5}:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
