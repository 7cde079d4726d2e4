"""The usage journal: what is promised stands on the disk, and arrives exactly once, whoever dies when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import DataError, OperationalError

from apps.billing.models import UsageRecord
from apps.billing.services.recording import UsageEntry
from apps.core.ids import uuid7
from apps.gateway.errors import JournalRefused
from apps.gateway.runtime import journal as journal_module
from apps.gateway.runtime import shipper as shipper_module
from apps.gateway.runtime import writing
from apps.gateway.runtime.journal import Journal
from apps.gateway.runtime.lines import LineReader
from apps.gateway.runtime.replay import replay_orphans
from apps.gateway.runtime.shipper import Shipper
from apps.gateway.services.sweeping import replay_journals

FORWARDED = (
    b'{"k":"f","a":"%b","at":1795000000000000,"org":"01a1fd3ea27b758e90c080cd94d2b810","usr":"","key":"","m":"model",'
    b'"p":"provider","um":"upstream","ep":"chat.completions","st":true,"pt":10,"pr":[1000000,2000000,0,0,null],"eu":""}\n'
)
PROGRESS = b'{"k":"p","a":"%b","ct":7,"ms":2100,"ft":50}\n'
DONE = (
    b'{"k":"d","a":"%b","s":"ok","pt":11,"ct":5,"ca":0,"cw":0,"rt":0,"c":21,"e":false,"hs":200,"ec":"","ms":120,"ft":40,'
    b'"n":1,"ui":"up-1"}\n'
)


def name() -> bytes:
    return uuid7().hex.encode()


@pytest.fixture
def journal(tmp_path: Path):
    found = Journal(tmp_path / "journal")
    yield found
    found.close()


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> list[UsageEntry]:
    """Return what arrives where the database would be."""
    arrived: list[UsageEntry] = []
    monkeypatch.setattr(writing, "record_usage", lambda entries: arrived.extend(entries) or len(entries))
    return arrived


def run_one_call(journal: Journal) -> bytes:
    call = name()
    segment = journal.begin(FORWARDED % call)
    journal.note(segment, PROGRESS % call)
    journal.finish(segment, DONE % call)
    return call


def ship_everything(journal: Journal) -> None:
    shipper = Shipper(journal)
    shipper.start()
    shipper.stop(within_seconds=5)


def test_a_finished_call_becomes_a_record_and_its_file_goes(journal: Journal, shipped: list[UsageEntry]) -> None:
    call = run_one_call(journal)
    [segment] = journal.segments()
    ship_everything(journal)
    [entry] = shipped
    assert entry.request_id.hex.encode() == call
    assert entry.created_at == datetime.fromtimestamp(1_795_000_000, tz=UTC)
    assert (entry.status, entry.cost_micros, entry.prompt_tokens, entry.completion_tokens) == ("ok", 21, 11, 5)
    assert (entry.user_id, entry.first_token_ms, entry.upstream_request_id) == (None, 40, "up-1")
    assert journal.segments() == []
    assert not segment.path.exists()


def test_a_file_stays_as_long_as_a_call_in_it_runs(journal: Journal, shipped: list[UsageEntry]) -> None:
    run_one_call(journal)
    running = name()
    segment = journal.begin(FORWARDED % running)
    ship_everything(journal)
    assert [entry.status for entry in shipped] == ["ok"]
    assert segment.path.exists()
    journal.finish(segment, DONE % running)
    ship_everything(journal)
    assert not segment.path.exists()


def test_what_ends_while_a_batch_is_written_gathers_for_the_next(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []

    def write(entries: list[UsageEntry]) -> int:
        batches.append(len(entries))
        run_one_call(journal)
        return len(entries)

    monkeypatch.setattr("apps.gateway.runtime.shipper.write_entries", write)
    shipper = Shipper(journal)
    run_one_call(journal)
    shipper._ship()
    run_one_call(journal)
    shipper._ship()
    assert batches == [1, 2]


def test_a_backlog_is_shipped_at_once(
    journal: Journal, shipped: list[UsageEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.gateway.runtime.shipper.READ_BYTES", 2000)
    for _ in range(20):
        run_one_call(journal)
    Shipper(journal)._ship()
    assert len(shipped) == 20


def test_a_full_segment_takes_no_new_calls(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 500)
    call = name()
    first = journal.begin(FORWARDED % call)
    run_one_call(journal)
    assert journal.begin(FORWARDED % name()) is not first
    journal.finish(first, DONE % call)
    assert len(journal.segments()) > 1
    assert journal.lag_bytes() > 1000


def test_a_disk_that_refuses_stops_calls_and_loses_none(
    journal: Journal, shipped: list[UsageEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = name()
    segment = journal.begin(FORWARDED % call)
    write, full = os.write, threading.Event()
    full.set()

    def write_a_part(fd: int, data: bytes) -> int:
        return write(fd, data[:5]) if full.is_set() else write(fd, data)

    monkeypatch.setattr(os, "write", write_a_part)
    with pytest.raises(JournalRefused):
        journal.finish(segment, DONE % call)
    assert not journal.is_writable
    with pytest.raises(JournalRefused):
        journal.begin(FORWARDED % name())
    full.clear()
    wait_until(lambda: journal.is_writable)
    ship_everything(journal)
    assert [entry.request_id.hex.encode() for entry in shipped] == [call]


def test_a_disk_that_is_nearly_full_takes_no_new_calls(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MIN_FREE_BYTES", 2**62)
    run_one_call(journal)
    wait_until(lambda: not journal.is_writable)
    with pytest.raises(JournalRefused):
        journal.begin(FORWARDED % name())
    monkeypatch.setattr(journal_module, "MIN_FREE_BYTES", 0)
    wait_until(lambda: journal.is_writable)


def test_a_directory_that_cannot_be_written_refuses_calls(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path, __: str) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(journal_module, "Segment", refuse)
    with pytest.raises(JournalRefused):
        journal.begin(FORWARDED % name())


async def test_a_last_byte_may_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    journal = Journal(tmp_path / "journal", sync_always=True)
    call = name()
    segment = journal.begin(FORWARDED % call)
    journal.finish(segment, DONE % call)
    await journal.wait_until_synced()
    assert segment.fd in synced
    journal.close()


def test_a_database_that_is_down_is_waited_for(
    journal: Journal, shipped: list[UsageEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper_module, "FIRST_RETRY_SECONDS", 0.01)
    record, failures = writing.record_usage, [OperationalError("down")] * 3

    def fail_at_first(entries: list[UsageEntry]) -> int:
        if failures:
            raise failures.pop()
        return record(entries)

    monkeypatch.setattr(writing, "record_usage", fail_at_first)
    calls = [run_one_call(journal) for _ in range(3)]
    shipper = Shipper(journal)
    shipper.start()
    wait_until(lambda: len(shipped) == 3)
    shipper.stop(within_seconds=2)
    assert [entry.request_id.hex.encode() for entry in shipped] == calls
    assert failures == []


def test_what_could_not_be_shipped_stays_for_the_next_start(
    journal: Journal, shipped: list[UsageEntry], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = writing.record_usage

    def refuse(_: object) -> int:
        raise OperationalError("down")

    monkeypatch.setattr(writing, "record_usage", refuse)
    call = run_one_call(journal)
    shipper = Shipper(journal)
    shipper.start()
    shipper.stop(within_seconds=0.3)
    journal.close()
    monkeypatch.setattr(writing, "record_usage", record)
    assert replay_orphans(tmp_path / "journal") == 1
    assert [entry.request_id.hex.encode() for entry in shipped] == [call]
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_record_that_no_database_takes_holds_up_no_other(
    journal: Journal, shipped: list[UsageEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [run_one_call(journal) for _ in range(5)]
    record = writing.record_usage

    def refuse_one(entries: list[UsageEntry]) -> int:
        if any(entry.request_id.hex.encode() == calls[2] for entry in entries):
            raise DataError("value out of range")
        return record(entries)

    monkeypatch.setattr(writing, "record_usage", refuse_one)
    ship_everything(journal)
    assert [entry.request_id.hex.encode() for entry in shipped] == calls[:2] + calls[3:]


def test_lines_that_are_none_are_counted_and_passed_over() -> None:
    reader, call = LineReader(), name()
    data = FORWARDED % call + b'{"k":"d","a":"half\n' + b"[1]\n" + b'{"k":"d"}\n' + DONE % name() + DONE % call
    assert [entry.request_id.hex.encode() for entry in reader.feed(data)] == [call]
    assert reader.unreadable == 3


def test_a_call_that_fell_over_is_recorded_where_it_ended() -> None:
    reader, call = LineReader(), name()
    moved = (FORWARDED % call).replace(b'"p":"provider"', b'"p":"spare"')
    [entry] = reader.feed(FORWARDED % call + moved + DONE % call)
    assert entry.provider == "spare"


STEPS = {
    "forwarded": ("interrupted", 10, 0, 10, True),
    "streaming": ("interrupted", 10, 7, 24, True),
    "torn": ("interrupted", 10, 7, 24, True),
    "done": ("ok", 11, 5, 21, False),
}
VICTIM = """
import os, pathlib, sys, time
sys.path.insert(0, os.getcwd())
import django; django.setup()
from apps.gateway.runtime.journal import Journal
lines = [bytes.fromhex(part) for part in sys.argv[2].split(",")]
for step in ("forwarded", "streaming", "torn", "done"):
    journal = Journal(pathlib.Path(sys.argv[1]) / step)
    segment = journal.begin(lines[0])
    if step in ("streaming", "torn", "done"):
        journal.note(segment, lines[1])
    if step == "torn":
        os.write(segment.fd, lines[2][:40])
    if step == "done":
        journal.finish(segment, lines[2])
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """Return the journals of a process that was killed in the middle of four calls, and the id of these calls."""
    directory, call = tmp_path_factory.mktemp("killed"), name()
    lines = ",".join((line % call).hex() for line in (FORWARDED, PROGRESS, DONE))
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, str(directory), lines], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "ready\n"
    assert [replay_orphans(directory / step) for step in STEPS] == [0, 0, 0, 0], "their writer lives"
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    return directory, call


@pytest.mark.django_db
@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_at_any_step_leaves_exactly_one_record(killed: tuple[Path, bytes], step: str) -> None:
    directory, call = killed[0] / step, killed[1]
    copy = next(directory.iterdir()).read_bytes()
    assert replay_orphans(directory) == 1
    assert list(directory.iterdir()) == []
    (directory / "again.ndjson").write_bytes(copy)
    assert replay_orphans(directory) == 0, "the same journal adds nothing the second time"
    [record] = UsageRecord.objects.all()
    found = (record.status, record.prompt_tokens, record.completion_tokens, record.cost_micros, record.is_estimated)
    assert found == STEPS[step]
    assert record.id.hex.encode() == call


def test_a_line_of_another_release_holds_up_nobody(tmp_path: Path, shipped: list[UsageEntry]) -> None:
    (tmp_path / "left.ndjson").write_bytes(b'{"k":"f","a":"%s"}\n' % name() + FORWARDED % name())
    assert replay_orphans(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.django_db
def test_the_relay_replays_journals_of_this_machine(settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    assert replay_journals() == 0
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "left.ndjson").write_bytes(FORWARDED % name())
    assert replay_journals() == 1


def test_a_journal_that_somebody_else_took_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "taken.ndjson"
    path.write_bytes(FORWARDED % name())
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert replay_orphans(tmp_path) == 0
    monkeypatch.setattr(Path, "glob", lambda *_: [tmp_path / "gone.ndjson"])
    assert replay_orphans(tmp_path) == 0


def wait_until(holds) -> None:
    """Return when something holds; fail when it does not within five seconds."""
    pause = threading.Event()
    assert any(holds() or pause.wait(0.01) for _ in range(500)), "it never held"


def test_team_tags_tier_and_hourly_cache_travel_with_a_call() -> None:
    call, team = name(), uuid7()
    forwarded = FORWARDED % call
    more = b',"tm":"%b","tg":["nightly","eval"]}\n' % team.hex.encode()
    done = (DONE % call).replace(b'"ui":"up-1"', b'"ui":"up-1","sv":"flex","c1":3')
    [entry] = LineReader().feed(forwarded.replace(b"}\n", more) + done)
    assert (entry.team_id, entry.tags, entry.service_tier, entry.cache_write_1h_tokens) == (
        team, ("nightly", "eval"), "flex", 3,
    )  # fmt: skip
    [older] = LineReader().feed(forwarded + DONE % call)
    assert (older.team_id, older.tags, older.service_tier, older.cache_write_1h_tokens) == (None, (), "standard", 0)


def test_an_interrupted_call_costs_the_prices_of_its_length() -> None:
    reader = LineReader()
    long = b'"pr":[1000000,2000000,0,0,null,null,9,3000000,null,null,null,null]'
    assert list(reader.feed((FORWARDED % name()).replace(b'"pr":[1000000,2000000,0,0,null]', long))) == []
    assert [entry.cost_micros for entry in reader.give_up()] == [30]
