"""Which calls run now: shown to staff from all processes, and stopped by them."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from redis.exceptions import ConnectionError as RedisConnectionError

from apps.core.actor import Actor, system_actor
from apps.core.errors import DependencyDown, InvalidInput
from apps.core.ids import encode_id, uuid7
from apps.core.redis import get_redis
from apps.events.models import Event
from apps.gateway.errors import CallStopped
from apps.gateway.runtime import Runtime, presence
from apps.gateway.runtime.presence import CALLS_CHANNEL, RUNNING_PREFIX, Presence
from apps.gateway.services import open_chat, running
from apps.gateway.services.running import list_running_calls, stop_running_call
from apps.users.models import ApiKey
from tests.factories.users import ApiKeyFactory, UserFactory

PAGE = "/admin/running-calls"


class Call:
    """A running call as the list sees it."""

    def __init__(self, name: str, seconds: float = 1.0) -> None:
        self.public_id, self.seconds = name, seconds
        self.ended_by: Any = None

    def describe(self) -> dict[str, Any]:
        return {"id": self.public_id, "seconds": self.seconds}

    def abort(self, error: Any) -> None:
        self.ended_by = error


def told_of(key: ApiKey | None = None, **changes: Any) -> dict[str, Any]:
    """Return a call as a process tells of it."""
    return {
        "id": "req_01",
        "organization_id": str(key.organization_id) if key else "",
        "user_id": str(key.user_id) if key else "",
        "api_key_id": str(key.id) if key else "",
        "model": "m",
        "provider": "p",
        "endpoint": "chat.completions",
        "is_stream": True,
        "seconds": 2.5,
        "first_token_ms": None,
        "tokens": 7,
        **changes,
    }


def say(*calls: dict[str, Any], process: str = "a", count: int | None = None) -> None:
    """Write what a process would write."""
    told = {"count": len(calls) if count is None else count, "calls": list(calls)}
    get_redis().set(RUNNING_PREFIX + process, orjson.dumps(told), ex=60)


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=not permissions))
    return client


class TestPresence:
    async def test_it_writes_the_longest_calls_and_takes_the_list_away_when_they_are_over(self, monkeypatch) -> None:
        monkeypatch.setattr(presence, "MAX_SHOWN", 2)
        calls = [Call("a", 1), Call("b", 3), Call("c", 2), object()]
        shown = Presence(lambda: calls)
        shown.tick(10.0)
        await shown._writing
        [name] = get_redis().keys(f"{RUNNING_PREFIX}*")
        told = orjson.loads(get_redis().get(name))
        assert (told["count"], [call["id"] for call in told["calls"]]) == (3, ["b", "c"])
        assert 0 < get_redis().ttl(name) <= presence.EXPIRES_SECONDS
        calls.clear()
        shown.tick(10.5)
        assert get_redis().exists(name) == 1  # its time has not come
        shown.tick(11.0)
        await shown._writing
        assert get_redis().exists(name) == 0

    async def test_an_idle_process_writes_nothing(self) -> None:
        shown = Presence(list)
        shown.tick(10.0)
        assert shown._writing is None
        await shown.close()

    async def test_a_closed_process_leaves_no_list(self) -> None:
        shown = Presence(lambda: [Call("a")])
        shown.tick(10.0)
        await shown.close()
        assert get_redis().keys(f"{RUNNING_PREFIX}*") == []

    async def test_without_redis_it_goes_on(self, monkeypatch) -> None:
        def refuse() -> None:
            raise RedisConnectionError("down")

        monkeypatch.setattr(presence, "get_async_redis", refuse)
        shown = Presence(lambda: [Call("a")])
        shown.tick(10.0)
        await shown.close()
        assert shown._writing.exception() is None

    async def test_it_ends_the_call_it_is_told_to_and_no_other(self) -> None:
        calls = [Call("a"), Call("b"), object()]
        shown = Presence(lambda: calls)
        shown.hear(orjson.dumps({"stop": "b"}))
        assert isinstance(calls[1].ended_by, CallStopped)
        assert calls[0].ended_by is None

    @pytest.mark.parametrize("data", [b"{", b"[]", b"{}"])
    async def test_a_message_that_says_nothing_ends_nothing(self, data: bytes) -> None:
        call = Call("a")
        Presence(lambda: [call]).hear(data)
        assert call.ended_by is None


@pytest.mark.django_db
class TestList:
    def test_the_lists_of_all_processes_come_together_with_names(self, django_assert_num_queries: Any) -> None:
        key = ApiKeyFactory()
        say(told_of(key), count=300)
        say(told_of(id="req_02", seconds=9.0, organization_id=str(uuid7())), process="b")
        with django_assert_num_queries(3):
            calls, count = list_running_calls()
        assert count == 301
        assert [call.id for call in calls] == ["req_02", "req_01"]
        assert (calls[0].organization, calls[0].user) == ("", "")
        assert (calls[1].organization, calls[1].user, calls[1].key) == (
            key.organization.name,
            key.user.email,
            key.name,
        )

    def test_nothing_runs(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            assert list_running_calls() == ([], 0)

    def test_without_redis_nobody_knows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse() -> None:
            raise RedisConnectionError("down")

        monkeypatch.setattr(running, "get_redis", refuse)
        with pytest.raises(DependencyDown):
            list_running_calls()
        with pytest.raises(DependencyDown):
            stop_running_call(call_id=encode_id("req", uuid7()), actor=system_actor())

    def test_a_stop_is_told_and_kept_in_the_trail(self, actor: Actor) -> None:
        request_id = uuid7()
        with get_redis().pubsub() as heard:
            heard.subscribe(CALLS_CHANNEL)
            heard.get_message(timeout=5)
            stop_running_call(call_id=encode_id("req", request_id), actor=actor)
            message = heard.get_message(timeout=5)
        assert orjson.loads(message["data"]) == {"stop": encode_id("req", request_id)}
        event = Event.objects.get(type="call.stop_requested")
        assert (event.aggregate_id, event.payload) == (request_id, {})

    def test_what_is_no_id_stops_nothing(self, actor: Actor) -> None:
        with pytest.raises(InvalidInput):
            stop_running_call(call_id="call-7", actor=actor)
        assert not Event.objects.exists()


@pytest.mark.django_db
class TestPage:
    def test_it_is_for_staff_with_the_permission(self) -> None:
        assert Client().get(PAGE).status_code == 302
        assert staff("none").get(PAGE).status_code == 403
        assert staff().get(PAGE).status_code == 200
        assert staff("none").post(f"{PAGE}/{encode_id('req', uuid7())}/stop").status_code == 403

    def test_it_lists_and_stops(self) -> None:
        call_id = encode_id("req", uuid7())
        say(told_of(ApiKeyFactory(name="Mobile app"), id=call_id, first_token_ms=1234))
        client = staff()
        page = client.get(PAGE).content.decode()
        assert "Mobile app" in page
        assert "1,234 ms" in page
        part = client.get(PAGE, {"part": ""}).content.decode()
        assert f"{PAGE}/{call_id}/stop" in part
        assert "<html" not in part
        answer = client.post(f"{PAGE}/{call_id}/stop", follow=True)
        assert f"{call_id} was told to stop." in answer.content.decode()
        assert Event.objects.filter(type="call.stop_requested").count() == 1

    def test_it_says_when_nothing_runs_and_when_nobody_knows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client = staff()
        assert "Nothing is running." in client.get(PAGE).content.decode()

        def refuse() -> None:
            raise RedisConnectionError("down")

        monkeypatch.setattr(running, "get_redis", refuse)
        assert "Redis does not answer" in client.get(PAGE).content.decode()
        answer = client.post(f"{PAGE}/{encode_id('req', uuid7())}/stop", follow=True)
        assert "Redis does not answer: the processes cannot be told." in answer.content.decode()

    def test_what_is_no_id_is_not_found(self) -> None:
        assert staff().post(f"{PAGE}/nonsense/stop").status_code == 404


async def test_a_running_call_is_shown_and_told_that_it_was_stopped(runtime: Runtime, key: tuple[ApiKey, str]) -> None:
    caller = await runtime.callers.find(key[1])
    request = {
        "model": "sandbox-small",
        "stream": True,
        "messages": [{"role": "user", "content": "[echo:one two three four five six]"}],
    }
    call = await open_chat(actor=caller.actor, request=request, endpoint="chat.completions")
    runtime.presence.tick(runtime.loop.time() + 2)
    await runtime.presence._writing
    calls, count = await sync_to_async(list_running_calls)()
    assert (count, calls[0].id, calls[0].model, calls[0].key) == (1, call.public_id, "sandbox-small", key[0].name)

    async def read() -> None:
        async for _ in call.batches():
            runtime.presence.hear(orjson.dumps({"stop": call.public_id}))

    with pytest.raises(CallStopped):
        await asyncio.wait_for(read(), 10)
    assert call.status == "cancelled"
