"""The chat page as people meet it: the whole product, a real browser, the sandbox model."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from apps.core.embedded.state import choose_port
from tests.support.browser import Watch, find_chromium, open_browser
from tests.support.running import RunningPortico
from tests.support.waiting import wait_until

pytestmark = pytest.mark.e2e

EMAIL, PASSWORD = "reader@portico.test", "a-long-enough-password-for-tests"
PATIENCE = 15_000  # ms; two cores may be busy with other tests
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
WORDS = " ".join(f"w{number}" for number in range(1, 161))
# 160 words, a token each, 25 ms a token: four seconds in which things can happen.
SLOWLY = f"[slow:25][echo:{WORDS}]"
# The colour pairs that carry text, as custom properties of the design system.
TEXT_PAIRS = [
    ("--ink", "--paper"),
    ("--ink", "--surface"),
    ("--ink-soft", "--paper"),
    ("--ink-soft", "--sunken"),
    ("--ink-faint", "--paper"),
    ("--ink-faint", "--sunken"),
    ("--ink-faint", "--surface"),
    ("--accent-ink", "--paper"),
    ("--accent-ink", "--accent-soft"),
    ("--on-accent", "--accent"),
    ("--danger", "--danger-soft"),
    ("--danger", "--surface"),
    ("--warn", "--warn-soft"),
    ("--code-comment", "--code-ground"),
    ("--code-keyword", "--code-ground"),
    ("--code-string", "--code-ground"),
    ("--code-number", "--code-ground"),
    ("--code-title", "--code-ground"),
    ("--code-meta", "--code-ground"),
]
CONTRAST = """(pairs) => {
  const probe = document.body.appendChild(document.createElement('i'));
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const luminance = (name) => {
    probe.style.color = `var(${name})`;
    canvas.fillStyle = getComputedStyle(probe).color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratios = pairs.map(([front, back]) => {
    const [low, high] = [luminance(front), luminance(back)].sort((one, other) => one - other);
    return [`${front} on ${back}`, (high + 0.05) / (low + 0.05)];
  });
  probe.remove();
  return ratios;
}"""
NAMELESS = """() => [...document.querySelectorAll('button, a[href], input, textarea, select, [role="listbox"]')]
  .filter((element) => element.checkVisibility())
  .filter((element) => !(element.getAttribute('aria-label') || element.labels?.length || element.textContent.trim()))
  .map((element) => element.outerHTML.slice(0, 120))"""
SMALL_TARGETS = """() => [...document.querySelectorAll('button, a[href], input, textarea, summary')]
  .filter((element) => element.checkVisibility() && !element.closest('[inert]') && !element.matches('.skip-link, .prose a'))
  .map((element) => [element.getAttribute('aria-label') || element.textContent.trim(), element.getBoundingClientRect()])
  .filter(([, box]) => box.width < 44 || box.height < 44)
  .map(([name, box]) => `${name}: ${box.width} x ${box.height}`)"""


expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Run the whole product once; return its address."""
    find_chromium()
    with RunningPortico(
        tmp_path_factory.mktemp("portico") / "data",
        choose_port(),
        is_measured=False,
        PORTICO_ADMIN_EMAIL=EMAIL,
        PORTICO_ADMIN_PASSWORD=PASSWORD,
    ) as portico:
        portico.wait_for_banner()
        yield f"http://127.0.0.1:{portico.port}"


@pytest.fixture(scope="module")
def browser(site):
    """Return a browser that lives as long as the product."""
    with open_browser(find_chromium()) as opened:
        yield opened


@pytest.fixture(scope="module")
def session(site, browser):
    """Log in once through the page; return the cookies."""
    with browser.new_context(base_url=site) as context:
        page = context.new_page()
        page.goto("/")
        log_in(page)
        expect(page).to_have_url(f"{site}/chat")
        return context.storage_state()


@pytest.fixture
def open_page(site, browser, session):
    """Return a function that opens the chat page in a fresh context; no page may have complained in the end."""
    contexts, watches = [], []

    def opened(path="/chat", *, viewport=None, cookies=session, **options):
        context = browser.new_context(
            base_url=site, storage_state=cookies, viewport=viewport or DESKTOP, reduced_motion="reduce", **options
        )
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        watches.append(Watch(page))
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [complaint for watch in watches for complaint in watch.complaints] == []


@pytest.fixture
def page(open_page):
    """Return the chat page of a person who is logged in, with the sandbox model picked."""
    opened = open_page()
    pick_sandbox(opened)
    return opened


def log_in(page):
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password", exact=False).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def pick_sandbox(page):
    page.get_by_role("button", name=re.compile("^Model:")).click()
    page.get_by_role("option", name=re.compile("sandbox", re.IGNORECASE)).first.click()


def write(page, text):
    field = page.get_by_label("Message", exact=True)
    field.fill(text)
    field.press("Enter")


def answers(page):
    return page.locator("article.answer markdown-body")


def ask(page, text, answer):
    """Send a text and wait for the whole answer."""
    count = answers(page).count()
    write(page, text)
    expect(answers(page).nth(count)).to_have_text(answer)
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def begin_slow_answer(page):
    """Send a text that is answered slowly; return when the answer has begun and is far from its end."""
    write(page, SLOWLY)
    expect(answers(page).last).to_contain_text("w5 ")
    expect(page.get_by_role("button", name="Stop the answer")).to_be_visible()


def test_a_stranger_logs_in_and_comes_back_to_the_conversation(site, open_page, page):
    ask(page, "[echo:remember me]", "remember me")
    address = urlsplit(page.url).path
    stranger = open_page(address, cookies=None)
    expect(stranger).to_have_url(re.compile(rf"/login\?next={re.escape(address)}$"))
    log_in(stranger)
    expect(stranger).to_have_url(site + address)
    expect(answers(stranger)).to_have_text(["remember me"])


def test_an_answer_is_seen_while_it_is_written(page):
    begin_slow_answer(page)
    assert "w160" not in answers(page).last.inner_text()
    assert page.locator("article.answer").get_attribute("aria-busy") == "true"
    expect(answers(page)).to_have_text([WORDS])
    expect(page.locator("article.answer")).to_have_attribute("aria-busy", "false")
    expect(page).to_have_url(re.compile(r"/chat/conv_\w+$"))
    expect(page.locator(".usage")).to_have_text(re.compile(r"^\d+ tokens · (\$0\.\d+|free)$"))
    expect(page.get_by_role("status").filter(has_text="Answer: w1 w2")).to_have_count(1)


def test_a_reload_in_the_middle_loses_and_repeats_nothing(page):
    begin_slow_answer(page)
    page.reload()
    expect(page.get_by_role("button", name="Stop the answer")).to_be_visible()
    assert "w160" not in answers(page).last.inner_text()
    expect(answers(page)).to_have_text([WORDS])
    page.reload()
    expect(answers(page)).to_have_text([WORDS])


def test_a_broken_connection_is_taken_up_again(page):
    """The stream is cut inside an event, twice; the page asks for what comes after the last whole one."""
    asked = []
    page.route(
        "**/api/v3/chat/*/stream*",
        lambda route: (asked.append(parse_qs(urlsplit(route.request.url).query).get("after")), route.continue_()),
    )
    page.add_init_script(
        """
        const real = window.fetch;
        const cuts = [3, 6];
        window.fetch = async (...given) => {
          const response = await real(...given);
          if (!String(given[0]).includes('/stream') || !cuts.length) return response;
          const mark = `id: ${cuts.shift()}\\n`;
          const cut = new TransformStream({
            transform(chunk, controller) {
              const at = new TextDecoder('latin1').decode(chunk).indexOf(mark);
              controller.enqueue(at < 0 ? chunk : chunk.slice(0, at + 2));
              if (at >= 0) controller.error(new TypeError('cut'));
            },
          });
          return new Response(response.body.pipeThrough(cut), { headers: response.headers });
        };
        """
    )
    page.reload()
    write(page, f"[slow:15][echo:{WORDS}]")
    expect(answers(page)).to_have_text([WORDS])
    assert asked == [["2"], ["5"]]


def test_an_answer_goes_on_while_one_reads_elsewhere(page):
    begin_slow_answer(page)
    row = page.locator(".shelf-item.current")
    expect(row.get_by_text("is being answered")).to_be_attached()
    page.get_by_role("button", name="New chat").first.click()
    expect(answers(page)).to_have_count(0)
    page.get_by_role("button", name="Show").click()
    expect(answers(page)).to_have_text([WORDS])


def test_esc_stops_the_answer_and_keeps_what_came(page):
    begin_slow_answer(page)
    page.keyboard.press("Escape")
    expect(page.get_by_text("You stopped this answer.")).to_be_visible()
    kept = answers(page).inner_text()
    assert WORDS.startswith(kept)
    assert 5 <= len(kept.split()) < 160
    page.reload()
    expect(page.get_by_text("You stopped this answer.")).to_be_visible()
    assert answers(page).inner_text() == kept


def test_editing_a_message_makes_a_branch_one_can_leave_and_come_back_to(page):
    ask(page, "[echo:first answer]", "first answer")
    ask(page, "[echo:what followed]", "what followed")
    page.locator("article.user").first.hover()
    page.get_by_role("button", name="Edit and branch").first.click()
    page.get_by_label("Your message").fill("[echo:second answer]")
    page.get_by_role("button", name="Send", exact=True).first.click()
    expect(answers(page)).to_have_text(["second answer"])
    expect(page.locator(".sibling-count")).to_have_text("2/2")
    page.get_by_role("button", name="Previous version of your message").click()
    expect(answers(page)).to_have_text(["first answer", "what followed"])
    page.reload()
    expect(answers(page)).to_have_text(["first answer", "what followed"])
    page.get_by_role("button", name="Next version of your message").click()
    expect(answers(page)).to_have_text(["second answer"])


def test_an_answer_can_be_asked_for_again(page):
    ask(page, "[echo:the same]", "the same")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".sibling-count")).to_have_text("2/2")
    expect(answers(page)).to_have_text(["the same"])
    page.get_by_role("button", name="Previous answer").click()
    expect(page.locator(".sibling-count")).to_have_text("1/2")
    expect(answers(page)).to_have_text(["the same"])


def test_rename_and_search(page):
    ask(page, "[echo:yes]", "yes")
    row = page.locator(".shelf-item.current")
    row.hover()
    row.get_by_role("button", name=re.compile("^Rename")).click()
    page.get_by_label("New title").fill("Lighthouse cats")
    page.keyboard.press("Enter")
    expect(page.locator(".chat-title")).to_have_text("Lighthouse cats")
    expect(page).to_have_title("Lighthouse cats · Portico")
    page.get_by_role("button", name="New chat").first.click()
    page.keyboard.press("Control+k")
    page.keyboard.type("lighthouse c")
    expect(page.locator(".shelf-title")).to_have_text(["Lighthouse cats"])
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_text(["yes"])
    page.get_by_label("Search conversations").fill("nothing is called so")
    expect(page.get_by_text("Nothing is called “nothing is called so”.")).to_be_visible()


def test_delete_and_undo(page):
    ask(page, "[echo:do not lose me]", "do not lose me")
    row = page.locator(".shelf-item.current")
    address = row.get_by_role("link").get_attribute("href")
    entry = page.locator(f'.shelf-link[href="{address}"]')
    row.hover()
    row.get_by_role("button", name=re.compile("^Delete")).click()
    expect(entry).to_have_count(0)
    expect(page).to_have_url(re.compile("/chat$"))
    page.get_by_role("button", name="Undo").click()
    expect(entry).to_have_count(1)
    entry.click()
    expect(answers(page)).to_have_text(["do not lose me"])


def test_keyboard_alone_is_enough(page):
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.type("[echo:by hand]")
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_text(["by hand"])
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    expect(page.get_by_label("Message", exact=True)).to_have_value("one\ntwo")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("Your message")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Edit and branch")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("listbox", name="Models")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name=re.compile("^Model:"))).to_be_focused()
    page.keyboard.press("Control+b")
    expect(page.get_by_role("button", name="Show conversations")).to_be_focused()


def test_code_is_coloured_labelled_and_copied_as_it_was(page):
    ask(page, "[echo:```python\ndef f():\n    return 1\n```]", re.compile("return 1"))
    block = page.locator(".code-block")
    expect(block.locator(".hljs-keyword")).to_have_text(["def", "return"])
    expect(block.locator(".code-head span")).to_have_text("python")
    block.get_by_role("button", name="Copy").click()
    expect(block.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "def f():\n    return 1\n"


def test_markup_of_a_model_stays_text(page):
    """Neither markup nor addresses of a model become elements that run, load, or submit anything."""
    hostile = [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "[click](javascript:alert(1))",
        "[click](data:text/html,<script>alert(1)</script>)",
        "![seen](https://example.com/pixel.png?secret=1)",
        "![x](data:image/svg+xml,<svg onload=alert(1)>)",
        '<a href="https://example.com" onclick="alert(1)" style="position:fixed">x</a>',
        "<form action=/logout><button>x</button></form>",
        "```html\n<img src=x onerror=alert(1)>\n```",
        '```"><img src=x onerror=alert(1)>\ncode\n```',
        "<svg><animate onbegin=alert(1) attributeName=x></svg>",
        "<javascript:alert(1)>",
        "| a |\n|:-:|\n| <b onmouseover=alert(1)>x</b> |",
    ]
    found = page.evaluate(
        """async (texts) => {
          const { renderBlocks } = await import('/static/conversations/markdown.js');
          const held = document.createElement('template');
          return texts.map((text) => {
            held.innerHTML = renderBlocks(text).join('');
            const all = [...held.content.querySelectorAll('*')];
            return [
              ...all.map((element) => element.localName).filter((name) => /^(script|style|img|svg|form|iframe|object|embed|input|b)$/.test(name)),
              ...all.flatMap((element) => [...element.attributes]).filter(({ name, value }) =>
                /^(on|style|srcdoc|action|formaction)/.test(name) || /^\\s*(javascript|data|vbscript):/i.test(value)).map(({ name, value }) => `${name}=${value}`),
            ];
          });
        }""",
        hostile,
    )
    assert dict(zip(hostile, found, strict=True)) == {text: [] for text in hostile}


def test_events_are_whole_however_the_bytes_are_cut(page):
    stream = (
        'id: 1\r\nevent: delta\r\ndata: {"text":"ä\U0001f980"}\r\n\r\n: ping\n\ndata: a\ndata:b\nid: 2\n\nid: 3\n\n'
    )
    expected = [
        {"id": "1", "event": "delta", "data": '{"text":"ä\U0001f980"}'},
        {"id": "2", "event": "message", "data": "a\nb"},
    ]
    results = page.evaluate(
        """async (text) => {
          const { readEvents } = await import('/static/conversations/sse.js');
          const bytes = new TextEncoder().encode(text);
          const results = [];
          for (let size = 1; size <= bytes.length; size += 1) {
            const body = new ReadableStream({
              start(controller) {
                for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
                controller.close();
              },
            });
            const events = [];
            for await (const event of readEvents(new Response(body))) events.push(event);
            results.push(JSON.stringify(events));
          }
          return [...new Set(results)];
        }""",
        stream,
    )
    assert [json.loads(result) for result in results] == [expected]


def test_a_refusal_is_shown_where_it_happened_and_trying_again_works(page):
    problem = {"status": 429, "code": "gateway.rate_limited", "title": "x", "detail": "Three a minute; free in 12 s."}
    page.route(
        "**/api/v3/chat/stream*",
        lambda route: route.fulfill(status=429, content_type="application/problem+json", body=json.dumps(problem)),
    )
    write(page, "[echo:at last]")
    expect(page.locator(".unsent .alert")).to_contain_text("Three a minute; free in 12 s.")
    page.get_by_role("button", name="Edit", exact=True).click()
    expect(page.get_by_label("Message", exact=True)).to_have_value("[echo:at last]")
    page.get_by_label("Message", exact=True).press("Enter")
    expect(page.locator(".unsent .alert")).to_be_visible()
    page.unroute("**/api/v3/chat/stream*")
    page.get_by_role("button", name="Try again").click()
    expect(answers(page)).to_have_text(["at last"])
    expect(page.locator(".unsent")).to_have_count(0)


def test_a_name_that_comes_after_the_answer_is_shown_without_a_reload(page):
    def add_name(route):
        stream = route.fetch().text()
        conversation = json.loads(re.search(r"event: run.started\ndata: (.*)", stream)[1])["conversation"]
        named = {"conversation": {**conversation, "title": "A better name", "version": conversation["version"] + 1}}
        body = f"{stream}event: conversation.updated\ndata: {json.dumps(named)}\n\n"
        route.fulfill(status=200, content_type="text/event-stream", body=body)

    page.route("**/api/v3/chat/stream*", add_name)
    ask(page, "[echo:first words]", "first words")
    expect(page.locator(".shelf-title").first).to_have_text("A better name")
    expect(page.locator("h1")).to_have_text("A better name")
    expect(page).to_have_title("A better name · Portico")


def test_a_summary_is_asked_for_by_keyboard_kept_and_known_to_be_old(page):
    expect(page.get_by_role("button", name="Summarize this conversation")).to_have_count(0)
    ask(page, "[echo:Cats sleep most of the day.]", "Cats sleep most of the day.")
    page.get_by_role("button", name="Summarize this conversation").press("Enter")
    dialog = page.get_by_role("dialog", name="Summary")
    expect(dialog.get_by_role("status")).to_contain_text("Cats sleep most of the day.")
    expect(dialog).to_contain_text("Of 2 messages")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Summarize this conversation")).to_be_focused()
    ask(page, "[echo:Dogs do not.]", "Dogs do not.")
    page.get_by_role("button", name="Summarize this conversation").click()
    expect(dialog).to_contain_text("The conversation has changed since this was written.")
    dialog.get_by_role("button", name="Update").click()
    expect(dialog).to_contain_text("Of 4 messages")
    expect(dialog).not_to_contain_text("has changed")


def test_an_answer_that_failed_can_be_tried_again(page):
    write(page, "[cut:3][echo:one two three four five six seven eight]")
    expect(page.locator("article.answer .alert")).to_be_visible()
    failed = page.locator("article.answer .alert").inner_text()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".sibling-count")).to_have_text("2/2")
    expect(page.locator("article.answer .alert")).to_have_text(failed.replace("\n", " "), use_inner_text=False)


def test_while_the_server_is_away_one_is_told_and_nothing_is_lost(page):
    down = {"status": 503, "code": "dependency_down", "title": "x", "detail": "The database does not answer."}
    refuse = lambda route: route.fulfill(  # noqa: E731
        status=503, content_type="application/problem+json", body=json.dumps(down)
    )
    page.route("**/api/v3/**", refuse)
    write(page, "[echo:still here]")
    expect(page.get_by_role("alert")).to_contain_text("Portico does not answer right now.")
    expect(page.locator(".unsent .bubble")).to_have_text("[echo:still here]")
    page.unroute("**/api/v3/**", refuse)
    expect(answers(page)).to_have_text(["still here"])
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_ended_session_leads_to_the_login_and_back_with_the_draft(site, page):
    ask(page, "[echo:before]", "before")
    address = urlsplit(page.url).path
    page.context.clear_cookies()
    page.get_by_label("Message", exact=True).fill("not sent yet")
    page.get_by_label("Search conversations").fill("x")
    expect(page).to_have_url(re.compile(r"/login\?next="))
    log_in(page)
    expect(page).to_have_url(site + address)
    expect(page.get_by_label("Message", exact=True)).to_have_value("not sent yet")


def test_the_reader_is_left_alone_while_the_answer_grows(page):
    write(page, "[long:3000][slow:1]")
    scroller = page.locator(".messages-scroll")
    wait_until(lambda: scroller.evaluate("element => element.scrollTop") > 400)
    page.mouse.move(700, 400)
    page.mouse.wheel(0, -250)
    expect(page.get_by_role("button", name="Jump to newest")).to_be_visible()
    top = scroller.evaluate("element => element.scrollTop")
    height = scroller.evaluate("element => element.scrollHeight")
    wait_until(lambda: scroller.evaluate("element => element.scrollHeight") > height + 200)
    assert scroller.evaluate("element => element.scrollTop") == top
    page.get_by_role("button", name="Jump to newest").click()
    expect(page.get_by_role("button", name="Jump to newest")).to_have_count(0)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    gap = scroller.evaluate("element => element.scrollHeight - element.scrollTop - element.clientHeight")
    assert gap <= 1


def test_the_list_grows_as_one_scrolls(page):
    made = page.evaluate(
        """async () => {
          const { api } = await import('/static/conversations/api.js');
          const token = document.querySelector('meta[name="csrf-token"]').content;
          for (let number = 0; number < 90; number += 1) {
            await fetch('/api/v3/conversations', {
              method: 'POST',
              headers: { 'Content-Type': 'application/json', 'X-CSRFToken': token },
              body: JSON.stringify({ title: `Paged ${String(number).padStart(2, '0')}` }),
            });
          }
          return (await api.conversations({ search: 'Paged' })).items.length;
        }"""
    )
    assert made == 40
    page.get_by_label("Search conversations").fill("Paged")
    expect(page.locator(".shelf-title").first).to_have_text("Paged 89")
    for count in (40, 80):
        expect(page.locator(".shelf-title").nth(count - 1)).to_be_attached()
        page.locator(".shelf-title").last.scroll_into_view_if_needed()
    expect(page.locator(".shelf-title")).to_have_text([f"Paged {number:02}" for number in range(89, -1, -1)])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_and_everything_has_a_name(open_page, scheme):
    page = open_page(color_scheme=scheme)
    pick_sandbox(page)
    ask(page, "[echo:`code`]", "code")
    too_weak = [(pair, round(ratio, 2)) for pair, ratio in page.evaluate(CONTRAST, TEXT_PAIRS) if ratio < 4.5]
    assert too_weak == []
    assert page.evaluate(NAMELESS) == []
    for landmark in ("main", "navigation", "banner"):
        assert page.get_by_role(landmark).count() <= 1
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("navigation", name="Conversations")).to_have_count(1)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.evaluate(
        "document.querySelectorAll('[id]').length === new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size"
    )


def test_the_chosen_theme_is_there_before_the_first_paint(open_page):
    page = open_page(color_scheme="light")
    page.locator(".account").click()
    switch = page.locator(".sidebar [data-theme-toggle]")
    switch.click()
    switch.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.add_init_script(
        "new PerformanceObserver((list) => { window.firstTheme ??= document.documentElement.dataset.theme; }).observe({ type: 'paint', buffered: true })"
    )
    page.reload()
    wait_until(lambda: page.evaluate("window.firstTheme"))
    assert page.evaluate("window.firstTheme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 22)"


def test_a_phone_has_a_drawer_and_room_for_fingers(open_page):
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    pick_sandbox(page)
    ask(page, f"[echo:```python\n{'x = 1; ' * 40}\n```]", re.compile("x = 1"))
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.evaluate(SMALL_TARGETS) == []
    page.get_by_role("button", name="Summarize this conversation").tap()
    expect(page.get_by_role("button", name="Copy", exact=True).last).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.evaluate(SMALL_TARGETS) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Show conversations").tap()
    expect(page.get_by_role("button", name="Hide conversations")).to_be_focused()
    expect(page.locator("main")).to_have_attribute("inert", "")
    assert page.evaluate(SMALL_TARGETS) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Show conversations")).to_be_focused()
    expect(page.locator("main")).not_to_have_attribute("inert", "")


def test_without_javascript_there_is_a_clear_sentence(open_page):
    page = open_page(java_script_enabled=False)
    expect(page.get_by_role("heading", name="The chat needs JavaScript")).to_be_visible()


def test_a_conversation_of_somebody_else_looks_like_none(open_page):
    page = open_page("/chat/conv_01kar3d6f2e8k8w5g0q4z1v7xn")
    expect(page.get_by_role("heading", name="There is no such conversation")).to_be_visible()
    page.get_by_role("button", name="Start a new chat").click()
    expect(page.get_by_role("heading", name=re.compile("^Welcome"))).to_be_visible()


def test_a_module_that_does_not_come_is_not_waited_for_in_silence(open_page):
    page = open_page()
    page.route("**/static/conversations/thread.js", lambda route: route.abort())
    page.reload()
    expect(page.get_by_text("The page could not be loaded completely. Reload it to try again.")).to_be_visible()
