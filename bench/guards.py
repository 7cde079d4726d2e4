"""What guardrails add to a call: every detector on, 1,000 tokens of everyday English, as a whole and as a stream.

By itself: `python -m bench.guards`. Times are the processor's, so that a busy machine does not count.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings.test")
if __name__ == "__main__":
    django.setup()

TOKENS = 1_000
ROUNDS = 300
MAX_ADDED_MS = 2.0
"""Added p95 of 1,000 tokens, everything on."""
SENTENCES = (
    "The committee met on 2026-03-14 at 10:30 and agreed to move the launch to the second week of May.",
    "Please summarise the attached report, keep it under 200 words, and list the three main risks at the end.",
    "Our revenue grew by 12.5 % to $1,234,567.89 while costs stayed flat; see table 4 on page 17.",
    "If the build fails again, run `npm ci && npm test` and check that NODE_ENV is set to production.",
    "She asked whether the new policy applies to contractors, and who would sign off on the exceptions.",
    "In Python, a list comprehension such as [x * 2 for x in range(10)] builds the whole list at once.",
    "The patient felt better after two days, but the doctor wanted to see her again the week after.",
    "Order 4711-22 was shipped with version 2.14.3 of the firmware; the ticket can be closed.",
)


def make_text(seed: int) -> str:
    """Return about 1,000 tokens."""
    rng = random.Random(seed)
    words: list[str] = []
    while len(words) < TOKENS * 3 // 4:
        words += rng.choice(SENTENCES).split()
    return " ".join(words)


def timed(work: Callable[[], Any]) -> float:
    """Return the milliseconds of processor time that something takes."""
    started = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - started) / 1e6


def measure() -> list[dict[str, Any]]:
    """Return a row for prompts and whole answers, and one for the events of a stream."""
    from apps.gateway.choices import GuardDetector, GuardMode  # noqa: PLC0415 - not before django.setup()
    from apps.gateway.guards import pii, secrets  # noqa: PLC0415 - not before django.setup()
    from apps.gateway.guards.base import Text  # noqa: PLC0415 - not before django.setup()
    from apps.gateway.guards.rules import PolicyTerms  # noqa: PLC0415 - not before django.setup()
    from apps.gateway.selectors.guardrails import compile_terms  # noqa: PLC0415 - not before django.setup()
    from apps.gateway.services.guarding.filtering import TextFilter  # noqa: PLC0415 - not before django.setup()
    from apps.gateway.services.guarding.placeholders import Vault  # noqa: PLC0415 - not before django.setup()
    from apps.gateway.services.guarding.verdicts import Findings  # noqa: PLC0415 - not before django.setup()

    policy = PolicyTerms(
        id=UUID(int=1),
        modes=dict.fromkeys(GuardDetector.values, (GuardMode.MASK, GuardMode.MASK)),
        pii_kinds=frozenset(pii.KINDS),
        secret_kinds=frozenset(secrets.KINDS),
        max_prompt_characters=10**6,
        max_answer_characters=10**6,
        own_patterns={"staff": r"EMP-\d{6}"},
        own_words=("Project Falcon",),
    )
    terms = compile_terms([policy])
    texts = [make_text(seed) for seed in range(ROUNDS)]
    whole = [timed(lambda text=text: terms.input.find(Text(text))) for text in texts]
    events: list[float] = []
    for text in texts[:20]:
        text_filter = TextFilter(rules=terms.output, findings=Findings(), vault=Vault())
        pieces = [text[at : at + 5] for at in range(0, len(text), 5)]
        events += [timed(lambda piece=piece, text_filter=text_filter: text_filter.feed(piece)) for piece in pieces]
    return [
        describe("prompt or whole answer, 1,000 tokens", whole, goal_ms=MAX_ADDED_MS),
        describe("stream, one event of one token", events, goal_ms=None),
    ]


def describe(what: str, times: list[float], *, goal_ms: float | None) -> dict[str, Any]:
    """Return a row of the table."""
    p95 = statistics.quantiles(times, n=20)[18]
    return {
        "what": f"guardrails, everything on: {what}",
        "p50_ms": round(statistics.median(times), 4),
        "p95_ms": round(p95, 4),
        "goal_ms": goal_ms,
        "met": goal_ms is None or p95 <= goal_ms,
    }


def measure_guards() -> list[dict[str, Any]]:
    """Measure in a process of its own, and return the rows."""
    output = subprocess.run([sys.executable, "-m", "bench.guards"], capture_output=True, text=True, check=True).stdout
    rows: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return rows


if __name__ == "__main__":
    for row in measure():
        print(json.dumps(row))
