"""What becomes of responses that are kept: written again, lost, abandoned, expired."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

import orjson
import pytest
from django.db import OperationalError
from django.utils import timezone

from apps.core.actor import Actor, ActorKind, system_actor
from apps.core.errors import NotFound
from apps.core.ids import time_of, uuid7
from apps.events.models import Event
from apps.gateway.choices import ResponseStatus
from apps.gateway.errors import ResponsesUnreachable, ResponseUnknown
from apps.gateway.models import RespondingProcess, ResponseEvents, StoredResponse
from apps.gateway.selectors.responses import cut_events, read_chain, read_stretch
from apps.gateway.services.responses import desk as desk_module
from apps.gateway.services.responses import keeping
from apps.gateway.services.responses.archive import Archive
from apps.gateway.services.responses.changing import delete_response, remove_response, request_cancellation
from apps.gateway.services.responses.desk import Desk, desk_of
from apps.gateway.services.responses.keeping import (
    INTERRUPTED,
    delete_rows,
    expire_responses,
    fail_abandoned_responses,
    look_after,
    write_responses,
)
from apps.gateway.services.responses.reading import Follower, read_input
from tests.factories.users import MembershipFactory

ME = UUID(int=1)
OTHER = UUID(int=2)


def make_actor() -> Actor:
    membership = MembershipFactory()
    return Actor(
        kind=ActorKind.USER,
        user_id=membership.user_id,
        organization_id=membership.organization_id,
        role="member",
        scopes=frozenset({"*"}),
    )


def make_archive(actor: Actor, **fields: Any) -> Archive:
    response_id = uuid7()
    return Archive(
        response_id=response_id,
        actor=actor,
        model="m",
        items=[{"type": "message", "role": "user", "content": []}],
        describe=lambda status: {"status": status, "output": []},
        stop=lambda: None,
        is_stream=True,
        **fields,
    )


def event(number: int) -> str:
    return f'event: e\ndata: {{"sequence_number":{number}}}\n\n'


def write(*archives: Archive, process_id: UUID = ME) -> set[UUID]:
    writings = [archive.writing() for archive in archives]
    lost = write_responses(process_id=process_id, writings=writings)
    for writing in writings:
        writing.archive.written(writing)
    return lost


def end(archive: Archive, status: str = "completed") -> None:
    archive.end({"status": status, "output": [{"type": "message", "id": "msg_1"}]})


def live(process_id: UUID = ME, *, seconds: int = 10, suspected: bool = False) -> RespondingProcess:
    now = timezone.now()
    return RespondingProcess.objects.create(
        id=process_id,
        host="here",
        pid=1,
        lease_until=now + timedelta(seconds=seconds),
        suspected_at=now - timedelta(seconds=60) if suspected else None,
    )


@pytest.mark.django_db
class TestWriting:
    def test_a_response_grows_and_ends(self) -> None:
        archive = make_archive(make_actor())
        archive.take((event(0) + event(1)).encode(), 2)
        assert write(archive) == set()
        row = StoredResponse.objects.get()
        assert (row.status, row.holder_id, row.is_active, str(row)) == ("in_progress", ME, True, row.public_id)
        archive.take(event(2).encode(), 3)
        end(archive)
        assert write(archive) == set()
        row.refresh_from_db()
        assert (row.status, row.last_sequence, row.is_active) == ("completed", 2, False)
        stretches = list(ResponseEvents.objects.order_by("first").values_list("first", "last", "events"))
        assert stretches == [(0, 1, event(0) + event(1)), (2, 2, event(2))]
        assert str(ResponseEvents.objects.order_by("first").first()) == f"{archive.id} 0–1"

    def test_writing_the_same_twice_changes_nothing(self) -> None:
        archive = make_archive(make_actor())
        archive.take(event(0).encode(), 1)
        first = archive.writing()
        assert write_responses(process_id=ME, writings=[first]) == set()
        # Nobody heard that it was written; meanwhile it has ended.
        archive.take(event(1).encode(), 2)
        end(archive)
        assert write(archive) == set()
        assert write_responses(process_id=ME, writings=[archive.writing()]) == set()
        assert ResponseEvents.objects.count() == 2
        assert StoredResponse.objects.get().status == "completed"

    def test_what_somebody_else_ended_is_lost(self) -> None:
        archive = make_archive(make_actor())
        write(archive)
        StoredResponse.objects.update(status="failed", finished_at=timezone.now(), document=f'{{"a":"{INTERRUPTED}"}}')
        archive.take(event(0).encode(), 1)
        end(archive)
        assert write(archive) == {archive.id}
        assert ResponseEvents.objects.count() == 0
        assert StoredResponse.objects.get().status == "failed"

    def test_what_was_deleted_is_lost_and_does_not_come_back(self) -> None:
        archive = make_archive(make_actor())
        write(archive)
        StoredResponse.objects.all().delete()
        archive.take(event(0).encode(), 1)
        assert write(archive) == {archive.id}
        assert StoredResponse.objects.count() == ResponseEvents.objects.count() == 0

    def test_a_client_of_oauth_owns_what_it_asked_for_no_person(self) -> None:
        actor = make_actor()
        client = Actor(
            kind=ActorKind.OAUTH_CLIENT, organization_id=actor.organization_id, oauth_client_id="app", role="member"
        )
        archive = make_archive(client)
        write(archive)
        assert StoredResponse.objects.visible_to(client).count() == 1
        assert StoredResponse.objects.visible_to(actor).count() == 0
        nobody = Actor(kind=ActorKind.ANONYMOUS)
        assert StoredResponse.objects.visible_to(nobody).count() == 0
        assert StoredResponse.objects.visible_to(system_actor()).count() == 1
        assert (archive.is_owned_by(client), archive.is_owned_by(actor)) == (True, False)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_the_database_refuses_holds_up_no_other() -> None:
    good = make_archive(make_actor())
    stranger = make_actor()
    bad = make_archive(Actor(kind=ActorKind.USER, user_id=stranger.user_id, organization_id=uuid7()))
    lost = write_responses(process_id=ME, writings=[bad.writing(), good.writing()])
    assert lost == {bad.id}
    assert StoredResponse.objects.get().id == good.id


@pytest.mark.django_db
class TestAbandoned:
    def start(self) -> StoredResponse:
        archive = make_archive(make_actor())
        archive.take(event(0).encode(), 1)
        write(archive)
        return StoredResponse.objects.get()

    def test_a_dead_process_is_suspected_first_and_given_up_later(self) -> None:
        row = self.start()
        process = live(seconds=-1)
        assert (fail_abandoned_responses(), process.is_alive) == (0, False)
        process.refresh_from_db()
        assert process.suspected_at is not None
        RespondingProcess.objects.update(suspected_at=timezone.now() - timedelta(seconds=60))
        assert fail_abandoned_responses() == 1
        row.refresh_from_db()
        assert (row.status, row.last_sequence) == (ResponseStatus.FAILED, 1)
        assert orjson.loads(row.document)["error"] == {"code": "server_error", "message": INTERRUPTED}
        stretch = read_stretch(response_id=row.id, after=0)
        assert stretch.is_over
        assert stretch.events.startswith("event: response.failed\n")
        assert fail_abandoned_responses() == 0

    def test_more_than_fit_into_one_round_are_given_up_in_several(self, monkeypatch) -> None:
        monkeypatch.setattr(keeping, "BATCH", 2)
        write(*[make_archive(actor) for actor in [make_actor()] * 5])
        assert fail_abandoned_responses() == 5
        assert set(StoredResponse.objects.values_list("status", flat=True)) == {ResponseStatus.FAILED}

    def test_the_living_are_left_alone(self) -> None:
        row = self.start()
        process = live()
        assert (fail_abandoned_responses(), str(process)) == (0, "here:1")
        row.refresh_from_db()
        assert row.is_active

    def test_one_without_events_ends_without_one(self) -> None:
        archive = make_archive(make_actor())
        write(archive)
        assert fail_abandoned_responses() == 1
        assert ResponseEvents.objects.count() == 0

    def test_who_saw_more_than_was_stored_is_told_the_end(self) -> None:
        row = self.start()
        fail_abandoned_responses()
        stretch = read_stretch(response_id=row.id, after=500)
        assert (stretch.events.count("response.failed"), stretch.is_over) == (2, True)

    def test_a_process_ends_what_it_does_not_know_and_hears_of_cancellations(self) -> None:
        actor = make_actor()
        known, forgotten = make_archive(actor), make_archive(actor)
        write(known, forgotten)
        assert request_cancellation(actor=actor, response_id=known.id) is True
        assert look_after(process_id=ME, known={known.id}) == [known.id]
        assert RespondingProcess.objects.get(id=ME).is_alive
        statuses = dict(StoredResponse.objects.values_list("id", "status"))
        assert statuses == {known.id: "in_progress", forgotten.id: "failed"}

    def test_processes_that_died_long_ago_are_forgotten(self) -> None:
        live(seconds=-7200, suspected=True)
        live(OTHER)
        fail_abandoned_responses()
        assert [process.id for process in RespondingProcess.objects.all()] == [OTHER]


@pytest.mark.django_db
class TestLeaving:
    def test_old_responses_go_with_their_events_and_young_ones_stay(self, settings) -> None:
        settings.RESPONSES_KEEP_DAYS = 30
        archives = [make_archive(make_actor()) for _ in range(2)]
        for archive in archives:
            archive.take(event(0).encode(), 1)
            end(archive)
        write(*archives)
        old = archives[0]
        StoredResponse.objects.filter(id=old.id).update(created_at=timezone.now() - timedelta(days=31))
        with pytest.raises(ResponseUnknown):
            read_chain(actor=old.actor, response_id=old.id)
        assert expire_responses() == 1
        assert expire_responses() == 0
        assert [row.id for row in StoredResponse.objects.all()] == [archives[1].id]
        assert [row.response_id for row in ResponseEvents.objects.all()] == [archives[1].id]

    def test_a_sweep_stops_at_its_bound(self, settings) -> None:
        archives = [make_archive(make_actor()) for _ in range(3)]
        for archive in archives:
            end(archive)
        write(*archives)
        StoredResponse.objects.update(created_at=timezone.now() - timedelta(days=31))
        with (
            patch("apps.gateway.services.responses.keeping.EXPIRY_BATCH", 1),
            patch("apps.gateway.services.responses.keeping.MOST_EXPIRED", 2),
        ):
            assert expire_responses() == 2
        assert StoredResponse.objects.count() == 1

    def test_nothing_is_deleted_for_nothing(self) -> None:
        assert delete_rows([]) == 0

    def test_a_deletion_is_an_event_and_only_the_owners(self) -> None:
        archive = make_archive(make_actor())
        archive.take(event(0).encode(), 1)
        end(archive)
        write(archive)
        with pytest.raises(ResponseUnknown):
            delete_response(actor=make_actor(), response_id=archive.id)
        assert StoredResponse.objects.count() == 1
        delete_response(actor=archive.actor, response_id=archive.id)
        assert StoredResponse.objects.count() == ResponseEvents.objects.count() == 0
        fact = Event.objects.get(type="response.deleted")
        assert (fact.aggregate_id, fact.payload) == (archive.id, {"model": "m"})

    def test_what_is_gone_cannot_be_followed(self) -> None:
        with pytest.raises(NotFound):
            read_stretch(response_id=uuid7(), after=-1)


@pytest.mark.parametrize(("after", "kept"), [(-1, [3, 4, 5]), (2, [3, 4, 5]), (3, [4, 5]), (5, []), (9, [])])
def test_events_are_cut_by_their_numbers(after: int, kept: list[int]) -> None:
    text = "".join(event(number) for number in (3, 4, 5))
    assert cut_events(text, first=3, after=after) == "".join(event(number) for number in kept)


class TestArchive:
    def test_older_events_are_to_be_read_where_they_are_stored(self) -> None:
        archive = make_archive(Actor(kind=ActorKind.SYSTEM))
        archive.take((event(0) + event(1)).encode(), 2)
        assert archive.events_after(0) == (event(1), 1)
        archive.written(archive.writing())
        assert (archive.events_after(0), archive.events_after(1)) == (None, ("", 1))
        archive.take(b"", 2)
        archive.take(event(2).encode(), 3)
        assert (archive.events_after(0), archive.events_after(1)) == (None, (event(2), 2))

    def test_given_up_events_are_gone_and_the_end_is_kept(self) -> None:
        archive = make_archive(Actor(kind=ActorKind.SYSTEM))
        archive.take(event(0).encode(), 1)
        archive.drop_events()
        archive.take(event(1).encode(), 2)
        end(archive)
        assert (archive.pending, archive.is_dirty, archive.last_sequence) == ([], True, 1)
        assert time_of(archive.id) == archive.created_at


@pytest.mark.asyncio
class TestDesk:
    async def test_a_database_that_is_away_keeps_nobody_waiting(self, runtime, in_database, monkeypatch) -> None:
        desk, actor = desk_of(runtime), await in_database(make_actor)
        gone = OperationalError("gone")
        archive = make_archive(actor)
        with monkeypatch.context() as patched:
            patched.setattr(desk_module, "write_responses", lambda **_: (_ for _ in ()).throw(gone))
            patched.setattr(desk_module, "RETRY_SECONDS", 0.05)
            begun = runtime.loop.time()
            await desk.end(archive, {"status": "completed", "output": []})
            assert runtime.loop.time() - begun < 2
            assert desk.archives == {archive.id: archive}
        await asyncio.wait_for(archive.stored.wait(), 5)
        assert await in_database(lambda: StoredResponse.objects.get().status) == "completed"
        assert desk.archives == {}

    async def test_what_is_held_in_memory_has_a_bound(self, runtime, monkeypatch) -> None:
        desk = Desk(runtime)
        archives = [make_archive(Actor(kind=ActorKind.SYSTEM)) for _ in range(3)]
        for archive in archives:
            archive.take(event(0).encode() * 100, 100)
            desk.archives[archive.id] = archive
        end(archives[0])
        monkeypatch.setattr(desk_module, "MAX_HELD_CHARACTERS", 150)
        desk._bound()
        assert [archive.has_lost_events for archive in archives] == [True, True, True]
        assert list(desk.archives) == [archive.id for archive in archives[1:]]
        assert archives[0].is_lost

    async def test_a_defect_of_writing_is_tried_again(self, runtime, in_database, monkeypatch) -> None:
        desk, actor = desk_of(runtime), await in_database(make_actor)
        archive = make_archive(actor)
        with monkeypatch.context() as patched:
            patched.setattr(desk_module, "write_responses", lambda **_: 1 / 0)
            patched.setattr(desk_module, "RETRY_SECONDS", 0.05)
            await desk.end(archive, {"status": "completed", "output": []})
        await asyncio.wait_for(archive.stored.wait(), 5)
        assert await in_database(StoredResponse.objects.count) == 1

    async def test_changes_are_refused_while_the_database_is_away(self, runtime) -> None:
        def fail() -> None:
            raise OperationalError("gone")

        with pytest.raises(ResponsesUnreachable):
            await desk_of(runtime).run(fail)

    async def test_closing_stops_what_runs_and_stores_its_end(self, runtime, in_database) -> None:
        desk, actor = desk_of(runtime), await in_database(make_actor)
        archive = make_archive(actor)
        archive.stop = lambda: end(archive, "cancelled")
        desk.begin(archive)
        await desk.store(archive)
        assert desk.stop(uuid7()) is False
        await desk.close()
        assert await in_database(lambda: StoredResponse.objects.get().status) == "cancelled"
        assert desk_of(runtime) is not desk

    async def test_closing_waits_only_so_long_and_says_what_is_lost(self, runtime, monkeypatch, caplog) -> None:
        desk = Desk(runtime)
        monkeypatch.setattr(desk_module, "CLOSE_SECONDS", 0.01)
        monkeypatch.setattr(desk_module, "write_responses", lambda **_: 1 / 0)
        monkeypatch.setattr(desk_module, "look_after", lambda **_: [])
        desk.begin(make_archive(Actor(kind=ActorKind.SYSTEM)))
        await desk.close()
        assert "responses_lost" in caplog.text

    async def test_more_than_fit_into_one_write_are_written_in_several(self, runtime, in_database, monkeypatch) -> None:
        monkeypatch.setattr(desk_module, "MOST_AT_ONCE", 1)
        desk, actor = desk_of(runtime), await in_database(make_actor)
        archives = [make_archive(actor) for _ in range(3)]
        await asyncio.gather(*(desk.end(archive, {"status": "completed", "output": []}) for archive in archives))
        assert await in_database(StoredResponse.objects.count) == 3

    async def test_what_was_lost_to_others_is_stopped_in_the_background(self, runtime, in_database) -> None:
        desk, actor = desk_of(runtime), await in_database(make_actor)
        stopped = asyncio.Event()
        archive = make_archive(actor, is_background=True)
        archive.stop = stopped.set
        desk.begin(archive)
        await desk.store(archive)
        await in_database(lambda: StoredResponse.objects.all().delete())
        archive.take(event(0).encode(), 1)
        await asyncio.wait_for(stopped.wait(), 5)
        assert (archive.is_lost, desk.archives) == (True, {})

    async def test_an_answer_that_somebody_is_given_goes_on_when_it_is_lost_to_others(
        self, runtime, in_database
    ) -> None:
        desk, actor = desk_of(runtime), await in_database(make_actor)
        archive = make_archive(actor)
        archive.stop = lambda: end(archive, "cancelled")
        desk.begin(archive)
        await desk.store(archive)
        await in_database(lambda: StoredResponse.objects.all().delete())
        archive.take(event(0).encode(), 1)
        await desk.store(archive)
        assert (archive.is_lost, archive.status, desk.archives) == (True, "in_progress", {})

    async def test_what_goes_on_from_a_deleted_response_has_its_own_input_before_it_is_stored(
        self, runtime, in_database
    ) -> None:
        desk, actor = desk_of(runtime), await in_database(make_actor)
        archive = make_archive(actor, previous_id=uuid7())
        desk.archives[archive.id] = archive
        [item] = await read_input(runtime=runtime, actor=actor, response_id=archive.id)
        assert (item["type"], item["role"]) == ("message", "user")
        desk.drop(archive)
        with pytest.raises(ResponseUnknown):
            await read_input(runtime=runtime, actor=actor, response_id=archive.id)

    async def test_a_lost_database_is_logged_once(self, runtime, monkeypatch, caplog) -> None:
        desk = Desk(runtime)
        monkeypatch.setattr(desk_module, "RETRY_SECONDS", 0)
        await desk._be_patient(OperationalError("gone"))
        await desk._be_patient(OperationalError("gone"))
        assert caplog.text.count("responses_wait_for_database") == 1

    async def test_what_is_stored_already_is_deleted_there_too(self, runtime, in_database) -> None:
        desk, actor = desk_of(runtime), await in_database(make_actor)
        archive = make_archive(actor)
        desk.begin(archive)
        await desk.store(archive)
        await remove_response(runtime=runtime, actor=actor, response_id=archive.id)
        assert (await in_database(StoredResponse.objects.count), desk.archives) == (0, {})

    async def test_who_follows_what_is_not_stored_yet_waits(self, runtime, monkeypatch) -> None:
        desk, actor = desk_of(runtime), Actor(kind=ActorKind.SYSTEM)
        archive = make_archive(actor)
        archive.take(event(0).encode(), 1)
        archive.drop_events()
        desk.archives[archive.id] = archive
        follower = Follower(runtime=runtime, actor=actor, response_id=archive.id)
        assert await follower.read(timeout_seconds=0.01) == ("", False)
        desk.drop(archive)
        with pytest.raises(ResponseUnknown):
            await follower.read(timeout_seconds=0.01)
