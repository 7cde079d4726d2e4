"""What happens to an answer when something dies, is away, or is too much."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisConnectionError

from apps.conversations.models import AnsweringProcess, Message, Run, RunDelta
from apps.conversations.runtime import wire
from apps.conversations.runtime.database import in_database
from apps.conversations.runtime.desk import Desk, current_desk
from apps.conversations.services import answering, following, keeping, writing
from apps.conversations.services.following import RunFollower
from apps.conversations.services.leases import interrupt_abandoned_runs
from apps.conversations.services.runs import Chat, Repeat
from apps.core.actor import Actor
from apps.core.redis import get_redis
from apps.users.models import Membership
from apps.users.selectors import actor_of_user
from apps.users.selectors.credentials import Credential
from tests.conversations.conftest import settle
from tests.support.fake_gateway import FakeGateway
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def person(transactional_db: None, member: Membership) -> Actor:
    return actor_of_user(user=member.user, organization_id=member.organization_id)


async def begin(person: Actor) -> Run:
    return await answering.begin_answer(actor=person, asked=Chat("Hi", model="fake"), repeat=Repeat())


async def read_to_end(run: Run, **options: Any) -> list[following.RunEvent]:
    events: list[following.RunEvent] = []
    async with asyncio.timeout(10), RunFollower(run, **options) as follower:
        while not (events and events[-1].is_end):
            events += await follower.read(timeout_seconds=5)
    return events


def text_of(events: list[following.RunEvent]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "delta")


def stored() -> tuple[str, str]:
    message = Message.objects.get(role="assistant")
    return message.status, message.content


class Outage:
    """Makes functions of the database fail while it lasts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_on = False
        self.refused = 0
        self._monkeypatch = monkeypatch

    def cover(self, module: Any, name: str) -> None:
        real = getattr(module, name)

        def fail_or_do(*args: Any, **kwargs: Any) -> Any:
            if self.is_on:
                self.refused += 1
                raise OperationalError("the database is away")
            return real(*args, **kwargs)

        self._monkeypatch.setattr(module, name, fail_or_do)


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    found = Outage(monkeypatch)
    found.cover(writing, "append_deltas")
    found.cover(answering, "finish_run")
    found.cover(answering, "mark_running")
    found.cover(keeping, "look")
    return found


async def test_a_database_that_is_away_is_waited_for_and_nothing_is_lost(
    person: Actor, gateway: FakeGateway, outage: Outage
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    gateway.script = ["Before", gates[0], " during", gates[1], " after"]
    run = await begin(person)
    async with RunFollower(run) as follower:
        seen = await follower.read(timeout_seconds=5)
        while not text_of(seen):
            seen += await follower.read(timeout_seconds=5)
        outage.is_on = True
        gates[0].set()
        gates[1].set()
        await until(lambda: outage.refused)
        assert await follower.read(timeout_seconds=0.05) == []
        outage.is_on = False
        while not seen[-1].is_end:
            seen += await follower.read(timeout_seconds=5)
    assert text_of(seen) == "Before during after"
    assert await in_database(stored) == ("complete", "Before during after")


async def test_an_end_that_cannot_be_stored_is_said_and_stored_later(
    person: Actor, gateway: FakeGateway, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "PATIENCE_SECONDS", 0.05)
    gate = asyncio.Event()
    gateway.script = ["Text", gate]
    run = await begin(person)
    await until(lambda: current_desk().runs[run.id].deltas)
    outage.is_on = True
    gate.set()
    end = (await read_to_end(run))[-1]
    assert (end.name, end.data["error"]["code"]) == ("run.failed", "conversations.answer_not_stored")
    assert end.data["answer"]["content"] == "Text"
    outage.is_on = False
    await settle()
    assert await in_database(stored) == ("complete", "Text")


async def test_what_waits_for_the_database_is_bounded(
    person: Actor, gateway: FakeGateway, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MAX_PENDING", 5)
    gate = asyncio.Event()
    gateway.script = ["12345", gate, "67890", "1"]
    run = await begin(person)
    await until(lambda: current_desk().runs[run.id].deltas)
    outage.is_on = True
    gate.set()
    await until(lambda: gateway.calls[0].is_cancelled)
    outage.is_on = False
    end = (await read_to_end(run))[-1]
    assert end.data["error"]["code"] == "conversations.answer_not_stored"
    assert await in_database(stored) == ("failed", "1234567890")


async def test_an_endless_answer_ends(person: Actor, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAX_ANSWER", 10)
    gateway.script = ["12345", "67890", "1"]
    end = (await read_to_end(await begin(person)))[-1]
    assert end.data["error"]["code"] == "conversations.answer_too_long"
    assert gateway.calls[0].is_cancelled
    assert await in_database(stored) == ("failed", "1234567890")


async def test_who_lost_the_run_stops_and_readers_see_what_was_decided(person: Actor, gateway: FakeGateway) -> None:
    """The process was frozen so long that another one declared it dead."""
    gate = asyncio.Event()
    gateway.script = ["So far", gate, " too late", asyncio.Event()]
    run = await begin(person)
    await until(lambda: current_desk().runs[run.id].deltas)
    await in_database(lambda: AnsweringProcess.objects.all().delete())
    assert await in_database(interrupt_abandoned_runs) == 1
    gate.set()
    events = await read_to_end(run)
    assert (text_of(events), events[-1].name) == ("So far", "run.interrupted")
    await settle()
    assert gateway.calls[0].is_cancelled
    assert await in_database(stored) == ("interrupted", "So far")


async def test_a_lost_run_without_another_word_ends_for_its_readers_too(person: Actor, gateway: FakeGateway) -> None:
    gate = asyncio.Event()
    gateway.script = ["So far", gate]
    run = await begin(person)
    await until(lambda: current_desk().runs[run.id].deltas)
    await in_database(lambda: Run.objects.update(owner_id=run.id))
    await in_database(interrupt_abandoned_runs)
    gate.set()
    events = await read_to_end(run)
    assert (text_of(events), events[-1].name) == ("So far", "run.interrupted")


async def test_a_run_that_is_lost_while_its_last_words_wait_is_not_ended_twice(
    person: Actor, gateway: FakeGateway, outage: Outage
) -> None:
    """The answer is over; its last piece waits for the database, and meanwhile another process ends the run."""
    gate = asyncio.Event()
    gateway.script = ["So far", gate, " too late"]
    run = await begin(person)
    local = current_desk().runs[run.id]
    await until(lambda: local.deltas)
    outage.is_on = True
    gate.set()
    await until(lambda: gateway.calls[0].has_ended and not local.stored.is_set() and outage.refused)
    await in_database(lambda: Run.objects.update(owner_id=run.id))
    await in_database(interrupt_abandoned_runs)
    outage.is_on = False
    events = await read_to_end(run)
    await settle()
    assert (text_of(events), events[-1].name) == ("So far", "run.interrupted")
    assert (local.is_lost, local.end) == (True, None)
    assert await in_database(stored) == ("interrupted", "So far")


async def test_a_reader_elsewhere_waits_for_a_database_that_is_away(
    person: Actor, gateway: FakeGateway, outage: Outage
) -> None:
    outage.cover(following, "stored_events")
    run = await begin(person)
    await settle()
    async with RunFollower(run) as follower:
        outage.is_on = True
        assert await follower.read(timeout_seconds=0.01) == []
        outage.is_on = False
        events = await follower.read(timeout_seconds=5)
    assert (text_of(events), events[-1].name) == ("Hello, world!", "run.completed")


async def test_who_cannot_begin_to_follow_is_not_waited_for(
    person: Actor, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await begin(person)
    await settle()
    withdrawable = Credential(kind="api_key", id=run.id, user_id=run.id, organization_id=None)

    async def fail(desk: Desk) -> None:
        assert desk.is_busy
        raise OperationalError("the database is away")

    monkeypatch.setattr(following, "ensure_kept", fail)
    with pytest.raises(OperationalError):
        await RunFollower(run, credential=withdrawable).__aenter__()
    assert not current_desk().is_busy


async def test_the_end_of_an_answer_is_read_also_when_its_conversation_is_gone(
    person: Actor, gateway: FakeGateway
) -> None:
    run = await begin(person)
    async with RunFollower(run) as follower:
        await settle()
        await in_database(erase_everything)
        events = await follower.read(timeout_seconds=5)
    assert (text_of(events), events[-1].name) == ("Hello, world!", "run.completed")
    assert "conversation.updated" not in [event.name for event in events]


def erase_everything() -> None:
    """Take the rows away below the models: what they protect is not the point here."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("DELETE FROM conversations_conversation")


@pytest.mark.parametrize("failure", [OperationalError, ZeroDivisionError])
async def test_a_keeper_that_stumbles_goes_on(
    person: Actor, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    outcomes = itertools.chain([failure, failure], itertools.repeat(DEFAULT))
    look = Mock(wraps=keeping.look, side_effect=outcomes)
    monkeypatch.setattr(keeping, "look", look)
    monkeypatch.setattr(keeping, "TICK_SECONDS", 0.01)
    gateway.script = ["So far", asyncio.Event()]
    run = await begin(person)
    await until(lambda: current_desk().runs[run.id].deltas)
    await in_database(lambda: Run.objects.update(cancel_requested_at=timezone.now()))
    assert (await read_to_end(run))[-1].name == "run.cancelled"
    assert look.call_count > 2


async def test_a_task_that_died_is_found_by_the_keeper(
    person: Actor, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(answering, "_produce", die)
    monkeypatch.setattr(keeping, "TICK_SECONDS", 0.01)
    events = await read_to_end(await begin(person))
    assert events[-1].name == "run.interrupted"


async def test_a_process_that_is_stopped_says_so_at_once(person: Actor, gateway: FakeGateway) -> None:
    gateway.script = ["So far", asyncio.Event()]
    run = await begin(person)
    await until(lambda: current_desk().runs[run.id].deltas)
    await answering.leave_desk()
    assert gateway.calls[0].has_ended
    assert await in_database(stored) == ("interrupted", "So far")


async def test_a_call_that_somebody_else_stopped_is_not_complete(person: Actor, gateway: FakeGateway) -> None:
    gateway.script = ["So far", asyncio.Event()]
    run = await begin(person)
    await until(lambda: current_desk().runs[run.id].deltas)
    await gateway.calls[0].cancel()
    assert (await read_to_end(run))[-1].name == "run.interrupted"
    assert await in_database(stored) == ("interrupted", "So far")


async def test_a_process_that_is_killed_leaves_what_came(person: Actor, member: Membership) -> None:
    """SIGKILL in the middle: after the lease, what was seen is what is kept, and its stream can still be read."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.answering_process", str(member.id),
        cwd=ROOT, env=os.environ | {"DATABASE_URL": database_url()}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    seen = [(await process.stdout.readline()).decode().split() for _ in range(6)]
    process.kill()
    await process.wait()
    assert await in_database(interrupt_abandoned_runs) == 0
    long_ago = timezone.now() - timedelta(seconds=30)
    await in_database(lambda: AnsweringProcess.objects.update(lease_until=long_ago, suspected_at=long_ago))
    assert await in_database(interrupt_abandoned_runs) == 1
    run = await in_database(Run.objects.select_related("conversation", "message", "sent_message").get)
    assert seen[0][0] == str(run.id)
    status, content = await in_database(stored)
    assert status == "interrupted"
    assert content == "".join(f"{number} " for number in range(content.count(" ")))
    assert run.last_seq > int(seen[-1][1])
    events = await read_to_end(run)
    assert (text_of(events), events[-1].seq) == (content, run.last_seq)


def database_url() -> str:
    """Return the address of the test's own database."""
    settings = connection.settings_dict
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**settings)


# Between processes


@pytest.fixture
async def stranger(transactional_db: None) -> AsyncIterator[Desk]:
    """The desk of another process that hears the wire."""
    desk = Desk()
    event = asyncio.Event()
    desk.wait_for(desk.process_id, event)
    desk.ensure("listener", lambda: wire.listen(desk))
    await until(lambda: get_redis().pubsub_numsub(wire.CHANNEL)[0][1] >= 1)
    yield desk
    desk.stop_waiting(desk.process_id, event)
    desk.services["listener"].cancel()


async def test_another_process_hears_that_a_run_grew(person: Actor, gateway: FakeGateway, stranger: Desk) -> None:
    gate = asyncio.Event()
    gateway.script = [gate, "Word"]
    run = await begin(person)
    heard = asyncio.Event()
    stranger.wait_for(run.id, heard)
    gate.set()
    async with asyncio.timeout(5):
        await heard.wait()
    stranger.stop_waiting(run.id, heard)
    await settle()


async def test_another_process_can_cancel(person: Actor, gateway: FakeGateway, stranger: Desk) -> None:
    gateway.script = ["So far", asyncio.Event()]
    run = await begin(person)
    await until(lambda: current_desk().runs[run.id].deltas)
    await until(lambda: get_redis().pubsub_numsub(wire.CHANNEL)[0][1] >= 2)
    wire.announce(stranger, wire.CANCEL, {run.id})
    events = await read_to_end(run)
    assert events[-1].name == "run.cancelled"


async def test_a_cancellation_reaches_the_process_that_answers(
    person: Actor, gateway: FakeGateway, stranger: Desk
) -> None:
    """The stranger has the run at its desk; the one that is asked only passes the wish on."""
    gateway.script = ["So far", asyncio.Event()]
    run = await begin(person)
    await until(lambda: current_desk().runs[run.id].deltas)
    await until(lambda: get_redis().pubsub_numsub(wire.CHANNEL)[0][1] >= 2)
    stranger.runs[run.id] = current_desk().runs.pop(run.id)
    assert (await answering.cancel_answer(actor=person, run_id=run.id)).is_active
    async with asyncio.timeout(5):
        await stranger.runs[run.id].cancelled.wait()
    del stranger.runs[run.id]
    assert (await read_to_end(run))[-1].name == "run.cancelled"
    assert await in_database(stored) == ("cancelled", "So far")


async def test_without_redis_a_reader_elsewhere_looks_into_the_database(
    person: Actor, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        def pubsub(self, **_: Any) -> Any:
            raise RedisConnectionError("away")

        async def publish(self, *_: Any) -> None:
            raise RedisConnectionError("away")

    monkeypatch.setattr(wire, "get_async_redis", Away)
    monkeypatch.setattr(wire, "RETRY_SECONDS", 0.01)
    gate = asyncio.Event()
    gateway.script = ["Now", gate, " then"]
    run = await begin(person)
    hidden = current_desk().runs.pop(run.id)
    async with RunFollower(run) as elsewhere:
        current_desk().runs[run.id] = hidden
        seen = await elsewhere.read(timeout_seconds=5)
        gate.set()
        await settle()
        async with asyncio.timeout(3):
            while not seen[-1].is_end:
                elsewhere._event.clear()
                seen += await elsewhere.read(timeout_seconds=5)
    assert text_of(seen) == "Now then"


async def test_no_connection_is_held_while_the_provider_is_waited_for(person: Actor, gateway: FakeGateway) -> None:
    gate = asyncio.Event()
    gateway.script = ["Word", gate]
    run = await begin(person)
    await until(lambda: current_desk().runs[run.id].deltas)
    await asyncio.wait({current_desk().services["writer"]})
    assert await in_database(others_connected) == 0
    gate.set()
    await settle()


def others_connected() -> int:
    """Return how many sessions of our database there are beside this one and pytest's own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND query ~ 'conversations_' AND backend_start > now() - interval '2 seconds'"
        )
        return int(cursor.fetchone()[0])


async def test_a_thousand_waiters_are_one_query_each_second(
    person: Actor, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Local readers never touch the database: what is stored is handed to them."""
    gate = asyncio.Event()
    gateway.script = ["Word", gate, "s"]
    run = await begin(person)
    reads: list[Any] = []
    monkeypatch.setattr(following, "stored_events", lambda **asked: reads.append(asked))
    readers = [asyncio.create_task(read_to_end(run)) for _ in range(50)]
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*readers)
    assert {text_of(events) for events in results} == {"Words"}
    assert reads == []


async def test_deltas_are_few(person: Actor, gateway: FakeGateway) -> None:
    """Words that come within a batch are stored as one row."""
    gateway.script = [f"{number} " for number in range(500)]
    events = await read_to_end(await begin(person))
    assert text_of(events) == "".join(gateway.script)
    assert await in_database(RunDelta.objects.count) < 50


def test_a_desk_without_anybody_is_not_busy() -> None:
    desk = Desk()
    assert not desk.is_busy
    withdraw: Callable[[], None] = lambda: None  # noqa: E731
    desk.watch("credential", withdraw)  # type: ignore[arg-type]
    assert desk.is_busy
    desk.unwatch("credential", withdraw)  # type: ignore[arg-type]
    assert not desk.is_busy
    assert not desk.cancel(desk.process_id)
