"""Callers and catalogue in memory: fresh at once when something changes, still there when the database is not."""

from __future__ import annotations

import asyncio

import pytest
import time_machine
from django.db import OperationalError

from apps.core.actor import system_actor
from apps.core.redis import get_redis
from apps.gateway.errors import CallerUnreachable, CatalogueUnreachable
from apps.gateway.models import Model
from apps.gateway.runtime import callers as callers_module
from apps.gateway.runtime import get_runtime, listener
from apps.gateway.runtime.callers import FRESH_SECONDS, STALE_SECONDS, CallerCache, may_exist
from apps.gateway.runtime.catalogue import Catalogue
from apps.gateway.runtime.loading import Loader
from apps.gateway.services.announcing import announce_catalogue_change
from apps.users.errors import KeyUnknown
from apps.users.key_format import new_secret
from apps.users.models import ApiKey
from apps.users.services.accounts import suspend_user
from apps.users.services.api_keys import revoke_api_key, rotate_api_key
from tests.gateway.conftest import OFFLINE_SECRET, find_offline, offline_snapshot, run_in_database
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio


class Database:
    """Answers for the database, counts how often it was asked, and can be down."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_down = False

    def find(self, secret: str):
        self.asked += 1
        if self.is_down:
            raise OperationalError("down")
        return find_offline(secret)

    def load(self):
        self.asked += 1
        if self.is_down:
            raise OperationalError("down")
        return offline_snapshot()


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    found = Database()
    monkeypatch.setattr(callers_module, "find_caller", found.find)
    return found


@pytest.fixture
async def cache(database: Database):
    loader = Loader()
    found = CallerCache(loader)
    found.trust(hears_changes=True)
    yield found
    loader.close()


def age(cache: CallerCache, seconds: float) -> None:
    """Make everything that is remembered older."""
    for digest, (caller, at) in list(cache._callers.items()):
        cache._callers[digest] = (caller, at - seconds)
    cache._loader._failed_at -= seconds


async def test_a_caller_is_looked_up_once(cache: CallerCache, database: Database) -> None:
    first, *others = await asyncio.gather(*(cache.find(OFFLINE_SECRET) for _ in range(20)))
    assert all(other is first for other in others)
    assert await cache.find(OFFLINE_SECRET) is first
    assert database.asked == 1
    age(cache, FRESH_SECONDS + 1)
    assert await cache.find(OFFLINE_SECRET) is not first
    assert database.asked == 2


async def test_one_who_leaves_early_takes_nothing_from_the_others(cache: CallerCache) -> None:
    impatient, patient = (asyncio.create_task(cache.find(OFFLINE_SECRET)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).actor.role == "member"


async def test_an_unknown_key_is_remembered_for_a_moment(cache: CallerCache, database: Database) -> None:
    stranger = new_secret()
    for _ in range(3):
        with pytest.raises(KeyUnknown):
            await cache.find(stranger)
    assert database.asked == 1
    cache.forget("whatever changed")
    with pytest.raises(KeyUnknown):
        await cache.find(stranger)
    assert database.asked == 2


@pytest.mark.parametrize("secret", ["", "short", "pk_live_" + "1" * 33, "x" * 5000, "ü" * 40])
async def test_a_malformed_key_costs_no_look_up(cache: CallerCache, database: Database, secret: str) -> None:
    assert not may_exist(secret)
    with pytest.raises(KeyUnknown):
        await cache.find(secret)
    assert database.asked == 0


async def test_a_known_key_is_served_while_the_database_is_down(cache: CallerCache, database: Database) -> None:
    known = await cache.find(OFFLINE_SECRET)
    database.is_down = True
    age(cache, FRESH_SECONDS + 1)
    assert await cache.find(OFFLINE_SECRET) is known
    asked = database.asked
    assert await cache.find(OFFLINE_SECRET) is known
    assert database.asked == asked, "a database that just failed is not asked for each call"
    age(cache, STALE_SECONDS)
    with pytest.raises(CallerUnreachable):
        await cache.find(OFFLINE_SECRET)


async def test_an_unknown_key_is_503_while_the_database_is_down(cache: CallerCache, database: Database) -> None:
    database.is_down = True
    with pytest.raises(CallerUnreachable) as refused:
        await cache.find(new_secret())
    assert (refused.value.status, refused.value.retry_after_seconds) == (503, 2)
    database.is_down = False
    age(cache, 60)
    assert (await cache.find(OFFLINE_SECRET)).actor.role == "member"


async def test_a_revoked_key_is_not_served_stale(cache: CallerCache, database: Database) -> None:
    known = await cache.find(OFFLINE_SECRET)
    database.is_down = True
    cache.forget(str(known.actor.user_id))
    with pytest.raises(CallerUnreachable):
        await cache.find(OFFLINE_SECRET)


async def test_a_change_during_a_look_up_is_not_missed(cache: CallerCache, database: Database, monkeypatch) -> None:
    loop, find = asyncio.get_running_loop(), database.find

    def find_while_something_changes(secret: str):
        found = find(secret)
        if database.asked == 1:
            asyncio.run_coroutine_threadsafe(forget(), loop).result()
        return found

    async def forget() -> None:
        cache.forget("an id")

    monkeypatch.setattr(callers_module, "find_caller", find_while_something_changes)
    await cache.find(OFFLINE_SECRET)
    assert database.asked == 2


async def test_unheard_changes_are_asked_for_sooner(cache: CallerCache, database: Database) -> None:
    await cache.find(OFFLINE_SECRET)
    cache.trust(hears_changes=False)
    await cache.find(OFFLINE_SECRET)
    age(cache, 2.5)
    await cache.find(OFFLINE_SECRET)
    assert database.asked == 3


async def test_a_snapshot_outlives_the_database(database: Database) -> None:
    loader = Loader()
    catalogue = Catalogue(loader, load=database.load)
    database.is_down = True
    with pytest.raises(CatalogueUnreachable):
        await catalogue.ready()
    database.is_down = False
    snapshot = await catalogue.ready()
    database.is_down = True
    assert await catalogue.reload() is snapshot
    database.is_down = False
    assert await catalogue.reload() is not snapshot
    loader.close()


async def test_a_catalogue_that_cannot_be_understood_leaves_the_last_one(database: Database, monkeypatch) -> None:
    loader = Loader()
    catalogue = Catalogue(loader, load=database.load)
    snapshot = await catalogue.ready()
    monkeypatch.setattr(catalogue, "_load", lambda: 1 / 0)
    assert await catalogue.reload() is snapshot
    loader.close()


async def test_a_change_while_reading_is_read_again(database: Database) -> None:
    loader = Loader()
    catalogue = Catalogue(loader, load=database.load)
    catalogue.refresh()
    await asyncio.sleep(0)
    await catalogue.reload()
    assert database.asked == 2
    loader.close()


async def test_a_revoked_key_and_a_suspended_user_stop_at_once(runtime, key) -> None:
    api_key, secret = key
    await until(lambda: runtime._listener._hears)
    caller = await runtime.callers.find(secret)
    await run_in_database(lambda: revoke_api_key(key=api_key, actor=system_actor()))
    await until(lambda: runtime.callers.known(secret) is None)
    with pytest.raises(KeyUnknown):
        await runtime.callers.find(secret)
    assert caller.actor.api_key_id == api_key.id


async def test_a_suspended_user_stops_at_once(runtime, key) -> None:
    api_key, secret = key
    await until(lambda: runtime._listener._hears)
    await runtime.callers.find(secret)
    await run_in_database(lambda: suspend_user(user=api_key.user, actor=system_actor()))
    await until(lambda: runtime.callers.known(secret) is None)
    with pytest.raises(KeyUnknown):
        await runtime.callers.find(secret)


async def test_the_secret_before_a_rotation_ends_with_the_overlap(runtime, key) -> None:
    api_key, secret = key
    _, fresh = await run_in_database(lambda: rotate_api_key(key=api_key, actor=system_actor()))
    await runtime.callers.find(fresh)
    caller = await runtime.callers.find(secret)
    overlap_ends = await run_in_database(lambda: ApiKey.objects.get(id=api_key.id).previous_expires_at)
    assert caller.expires_at == overlap_ends
    with time_machine.travel(overlap_ends, tick=False), pytest.raises(KeyUnknown):
        await runtime.callers.find(secret)


async def test_a_withdrawn_model_is_gone_at_once(runtime) -> None:
    await until(lambda: runtime._listener._hears)

    def withdraw() -> None:
        Model.objects.filter(name="sandbox-small").update(is_active=False)
        announce_catalogue_change()

    await run_in_database(withdraw)
    await until(lambda: "sandbox-small" not in runtime.catalogue.snapshot.models)


async def test_a_lost_redis_is_noticed_and_found_again(offline, monkeypatch) -> None:
    runtime = get_runtime()
    monkeypatch.setattr(listener, "RETRY_SECONDS", 0.05)
    await until(lambda: runtime._listener._hears)
    changes: list[bool] = []
    monkeypatch.setattr(runtime._listener, "_on_hearing", changes.append)
    get_redis().client_kill_filter(_type="pubsub")
    await until(lambda: changes == [False, True])


async def test_nonsense_on_the_channel_is_passed_over(offline) -> None:
    runtime = get_runtime()
    await until(lambda: runtime._listener._hears)
    await runtime.callers.find(OFFLINE_SECRET)
    for message in (b"nonsense", b"[]", b'{"kind": "user"}'):
        get_redis().publish(listener.IDENTITY_CHANNEL, message)
    get_redis().publish(listener.IDENTITY_CHANNEL, b'{"kind": "user", "id": "nobody"}')
    await asyncio.sleep(0.05)
    assert runtime.callers.known(OFFLINE_SECRET) is not None
    assert runtime._listener._hears
