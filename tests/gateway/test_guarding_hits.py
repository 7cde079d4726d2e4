"""What guardrails found: into the table and out as events, whatever happens on the way."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest
from django.db import OperationalError
from pytest_django import Settings

from apps.events.models import Event
from apps.gateway.models import GuardHit
from apps.gateway.runtime import guard_hits
from apps.gateway.runtime.guard_hits import HitFacts, HitSpool, close_spool, note_findings, record_lines, take_over
from apps.gateway.runtime.metrics import GUARD_HITS
from apps.gateway.services.guarding.verdicts import Finding
from apps.gateway.services.sweeping import record_left_guard_hits

POLICY = UUID("018f1c1e-0000-7000-8000-000000000001")
REQUEST = UUID("018f1c1e-0000-7000-8000-000000000002")
ORGANIZATION = UUID("018f1c1e-0000-7000-8000-000000000003")
FACTS = HitFacts(REQUEST, "gpt-test", ORGANIZATION, None, None, None)


@pytest.fixture
def directory(settings: Settings, tmp_path: Path) -> Path:
    close_spool()  # of a test before, in another directory
    settings.DATA_DIR = tmp_path
    return tmp_path / "guard-hits"


def findings() -> Counter[Finding]:
    return Counter(
        {Finding(POLICY, "pii", "email", "mask", "input"): 2, Finding(POLICY, "secrets", "jwt", "block", "output"): 1}
    )


def line_of(directory: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    lines: list[bytes] = []
    spool = type("Spool", (), {"write": lambda self, line: lines.append(line)})()
    monkeypatch.setattr(guard_hits, "get_spool", lambda: spool)
    note_findings(findings(), FACTS)
    return lines[0]


@pytest.mark.django_db(transaction=True)
def test_finds_are_recorded_and_told_once_a_call_and_the_file_goes(directory: Path) -> None:
    note_findings(findings(), FACTS)
    close_spool(within_seconds=20)

    hits = GuardHit.objects.order_by("detector").values_list(
        "detector", "kind", "mode", "direction", "count", "request_id"
    )
    assert list(hits) == [
        ("pii", "email", "mask", "input", 2, REQUEST),
        ("secrets", "jwt", "block", "output", 1, REQUEST),
    ]
    event = Event.objects.get(type="guardrail.triggered")
    assert (event.aggregate_id, event.organization_id) == (POLICY, ORGANIZATION)
    assert event.payload["hits"] == [
        {"detector": "pii", "kind": "email", "mode": "mask", "direction": "input", "count": 2},
        {"detector": "secrets", "kind": "jwt", "mode": "block", "direction": "output", "count": 1},
    ]
    assert list(directory.iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_down_delays_and_loses_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[bytes] = []

    def fail(data: bytes) -> int:
        tries.append(data)
        raise OperationalError("the server is gone")

    with monkeypatch.context() as patched:
        patched.setattr(guard_hits, "record_lines", fail)
        note_findings(findings(), FACTS)
        close_spool(within_seconds=20)
    assert tries
    assert GuardHit.objects.count() == 0

    assert record_left_guard_hits() == 1

    assert GuardHit.objects.count() == 2
    assert list(directory.iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_lines_that_come_twice_are_recorded_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = line_of(directory, monkeypatch)

    assert record_lines(line + line) + record_lines(line) == 2
    assert GuardHit.objects.count() == 2
    assert Event.objects.filter(type="guardrail.triggered").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_line_that_cannot_be_stored_does_not_hold_up_the_others(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = line_of(directory, monkeypatch)
    endless = line.replace(b'"jwt"', b'"' + b"j" * 100 + b'"')

    assert record_lines(b"garbage\n" + endless) == 1
    assert GuardHit.objects.get().kind == "email"


@pytest.mark.django_db(transaction=True)
def test_the_file_of_a_living_process_is_left_alone(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HitSpool, "_run", lambda self: None)
    spool = HitSpool(directory)
    spool.write(line_of(directory, monkeypatch))

    assert take_over(directory) == 0
    assert GuardHit.objects.count() == 0

    spool.ship()
    assert GuardHit.objects.count() == 2
    assert os.stat(spool.path).st_size == 0
    spool.close(within_seconds=1)


def test_a_disk_that_refuses_does_not_fail_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> HitSpool:
        raise OSError("no space left")

    monkeypatch.setattr(guard_hits, "get_spool", refuse)
    counter = GUARD_HITS.labels("pii", "email", "mask", "input")
    before = counter._value.get()

    note_findings(findings(), FACTS)

    assert counter._value.get() == before + 2
