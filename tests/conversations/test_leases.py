"""A process that dies leaves what came, marked interrupted; one that lives is left alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from apps.conversations.choices import RunStatus
from apps.conversations.models import AnsweringProcess, Message, Run, RunDelta
from apps.conversations.services.deltas import Delta, append_deltas
from apps.conversations.services.leases import (
    forget_the_past,
    interrupt_abandoned_runs,
    interrupt_forgotten_runs,
    renew_lease,
)
from apps.conversations.services.runs import Ending, finish_run, mark_running
from apps.core.actor import system_actor
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.events.services.sweeping import sweeps
from tests.factories.conversations import AnsweringProcessFactory, ConversationFactory, make_run

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(seconds=60)


def run_of(process: AnsweringProcess, *texts: str) -> Run:
    """Return a running answer of a process with some pieces stored."""
    run = make_run(conversation=ConversationFactory(), owner_id=process.id)
    for seq, text in enumerate(texts, start=2):
        RunDelta.objects.create(run_id=run.id, seq=seq, text=text, created_at=timezone.now())
    return run


def dead_process() -> AnsweringProcess:
    return AnsweringProcessFactory(lease_until=timezone.now() - LONG_AGO, suspected_at=timezone.now() - LONG_AGO)


def test_the_runs_of_the_dead_end_with_what_came() -> None:
    run = run_of(dead_process(), "So ", "far")
    silent = run_of(dead_process())
    assert interrupt_abandoned_runs() == 2
    run.refresh_from_db()
    assert (run.status, run.last_seq, run.message.content, run.message.status) == (
        "interrupted", 4, "So far", "interrupted",
    )  # fmt: skip
    silent.refresh_from_db()
    assert (silent.status, silent.last_seq, silent.message.content) == ("interrupted", 2, "")
    events = Event.objects.filter(type="answer.interrupted", aggregate_id=run.conversation_id)
    assert [event.payload["characters"] for event in events] == [6]
    assert interrupt_abandoned_runs() == 0


def test_a_process_that_nobody_knows_is_dead() -> None:
    run = make_run(conversation=ConversationFactory(), owner_id=uuid7())
    assert interrupt_abandoned_runs() == 1
    assert Run.objects.get(id=run.id).status == RunStatus.INTERRUPTED


def test_the_living_and_the_only_just_suspected_go_on() -> None:
    """After an outage of the database every lease has run out; who lives renews it within the grace."""
    alive = run_of(AnsweringProcessFactory())
    silent = AnsweringProcessFactory(lease_until=timezone.now() - LONG_AGO)
    waiting = run_of(silent)
    assert interrupt_abandoned_runs() == interrupt_abandoned_runs() == 0
    silent.refresh_from_db()
    assert silent.suspected_at is not None
    renew_lease(process_id=silent.id)
    AnsweringProcess.objects.filter(id=silent.id).update(suspected_at=None)
    assert interrupt_abandoned_runs() == 0
    assert set(Run.objects.active()) == {alive, waiting}


def test_a_renewal_clears_the_suspicion_and_lasts_ten_seconds() -> None:
    process = dead_process()
    renew_lease(process_id=process.id)
    found = AnsweringProcess.objects.filter(
        id=process.id,
        suspected_at__isnull=True,
        lease_until__gt=Now() + timedelta(seconds=9),
        lease_until__lte=Now() + timedelta(seconds=10),
    )
    assert found.exists()
    fresh = uuid7()
    renew_lease(process_id=fresh)
    assert AnsweringProcess.objects.get(id=fresh).is_alive


def test_who_was_declared_dead_writes_no_more() -> None:
    process = dead_process()
    run = run_of(process, "So far")
    interrupt_abandoned_runs()
    late = Delta(run.id, 3, " too late", timezone.now())
    assert append_deltas(owner_id=process.id, deltas=[late]) == set()
    assert not mark_running(run_id=run.id, owner_id=process.id)
    ending = Ending(RunStatus.COMPLETE, "So far too late", 4)
    assert finish_run(actor=system_actor(), run_id=run.id, owner_id=process.id, ending=ending) is None
    assert list(RunDelta.objects.values_list("text", flat=True)) == ["So far"]
    assert Message.objects.get(id=run.message_id).content == "So far"


def test_nobody_writes_for_another() -> None:
    run = run_of(AnsweringProcessFactory())
    piece = Delta(run.id, 2, "Mine", timezone.now())
    assert append_deltas(owner_id=uuid7(), deltas=[piece]) == set()
    assert append_deltas(owner_id=run.owner_id, deltas=[piece]) == {run.id}
    assert append_deltas(owner_id=run.owner_id, deltas=[piece]) == {run.id}
    assert list(RunDelta.objects.values_list("seq", "text")) == [(2, "Mine")]


def test_a_process_ends_what_it_has_forgotten() -> None:
    process = AnsweringProcessFactory()
    known, forgotten, other = run_of(process), run_of(process, "Some"), run_of(AnsweringProcessFactory())
    before = forgotten.created_at
    assert interrupt_forgotten_runs(process_id=process.id, known={known.id}, created_before=before) == 0
    assert interrupt_forgotten_runs(process_id=process.id, known={known.id}, created_before=timezone.now()) == 1
    assert set(Run.objects.active()) == {known, other}
    assert interrupt_forgotten_runs(process_id=process.id) == 1


def test_more_than_a_batch_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.conversations.services.leases.BATCH", 2)
    for _ in range(5):
        run_of(dead_process())
    assert interrupt_abandoned_runs() == 5


def test_the_past_is_forgotten() -> None:
    gone = AnsweringProcessFactory(lease_until=timezone.now() - timedelta(hours=2))
    busy = AnsweringProcessFactory(lease_until=timezone.now() - timedelta(hours=2))
    run_of(busy)
    old, new = (
        make_run(conversation=ConversationFactory(), owner_id=busy.id, caller="a", idempotency_key=key, fingerprint="f")
        for key in ("old", "new")
    )
    Run.objects.filter(id=old.id).update(created_at=timezone.now() - timedelta(hours=25))
    assert forget_the_past() == 2
    assert not AnsweringProcess.objects.filter(id=gone.id).exists()
    assert list(Run.objects.exclude(idempotency_key="").values_list("id", flat=True)) == [new.id]


def test_the_sweeps_are_registered() -> None:
    assert {name: sweep.every_seconds for name, sweep in sweeps().items() if name.startswith("conversations.")} == {
        "conversations.interrupt_abandoned_runs": 2,
        "conversations.tend_delta_days": 3600,
        "conversations.forget_the_past": 600,
    }
