"""`Idempotency-Key`: one effect, the same answer."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import connection
from django.db.models.functions import Now

from apps.core.actor import Actor
from apps.core.ids import uuid7
from apps.events.errors import IdempotencyKeyInvalid, IdempotencyKeyReused, RequestRunning
from apps.events.models import IdempotentRequest
from apps.events.services.idempotency import KEEP, Answer, caller_of, fingerprint_of, forget_old_requests, run_once


class Effect:
    """Counts how often it happened."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Answer:
        self.count += 1
        return Answer(201, f'{{"number": {self.count}}}', {"Location": "/x"})


@pytest.fixture
def effect() -> Effect:
    return Effect()


@pytest.fixture
def run(actor: Actor, effect: Effect) -> Callable[..., Answer]:
    def call(*, key: str = "key-1", fingerprint: str = "a", who: Actor = actor) -> Answer:
        return run_once(actor=who, key=key, fingerprint=fingerprint, effect=effect)

    return call


def test_the_second_request_gets_the_first_answer(run: Callable[..., Answer], effect: Effect) -> None:
    first, second = run(), run()
    assert (first.status, first.body, first.headers, first.is_replay) == (
        201,
        '{"number": 1}',
        {"Location": "/x"},
        False,
    )
    assert (second.status, second.body, second.headers, second.is_replay) == (
        201,
        '{"number": 1}',
        {"Location": "/x"},
        True,
    )
    assert effect.count == 1


def test_another_body_under_the_same_key_is_refused(run: Callable[..., Answer], effect: Effect) -> None:
    run()
    with pytest.raises(IdempotencyKeyReused) as caught:
        run(fingerprint="b")
    assert (caught.value.status, effect.count) == (422, 1)


def test_two_callers_may_use_the_same_key(run: Callable[..., Answer], effect: Effect, actor: Actor) -> None:
    run()
    run(who=Actor(kind=actor.kind, user_id=uuid7(), organization_id=actor.organization_id))
    assert effect.count == 2


@pytest.mark.parametrize("key", ["", "a" * 256, "with space", "tab\t", "é"])
def test_a_malformed_key_is_refused(run: Callable[..., Answer], effect: Effect, key: str) -> None:
    with pytest.raises(IdempotencyKeyInvalid):
        run(key=key)
    assert effect.count == 0


def test_an_answer_is_kept_for_a_day(run: Callable[..., Answer], effect: Effect) -> None:
    run()
    IdempotentRequest.objects.update(created_at=Now() - KEEP)
    assert run().is_replay is False
    assert effect.count == 2
    assert forget_old_requests() == 0
    IdempotentRequest.objects.update(created_at=Now() - KEEP)
    assert forget_old_requests() == 1


def test_a_failure_is_not_remembered(actor: Actor, run: Callable[..., Answer], effect: Effect) -> None:
    def fail() -> Answer:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_once(actor=actor, key="key-1", fingerprint="a", effect=fail)
    assert (run().is_replay, effect.count) == (False, 1)


def test_the_stored_body_is_encrypted(run: Callable[..., Answer]) -> None:
    run()
    with connection.cursor() as cursor:
        cursor.execute("SELECT body FROM events_idempotentrequest")
        assert cursor.fetchone()[0].startswith("v1:test:")


@pytest.mark.django_db(transaction=True)
def test_a_hundred_at_once_have_one_effect(actor: Actor) -> None:
    started, effects, outcomes = threading.Barrier(20), [], []

    def effect() -> Answer:
        effects.append(1)
        return Answer(201, "{}")

    def send() -> None:
        started.wait()
        for _ in range(5):
            try:
                outcomes.append(run_once(actor=actor, key="k", fingerprint="a", effect=effect).status)
            except RequestRunning as error:
                outcomes.append(error.status)
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(effects) == 1
    assert (len(outcomes), set(outcomes) <= {201, 409}, 201 in outcomes) == (100, True, True)


def test_the_fingerprint_covers_method_path_and_body() -> None:
    prints = {
        fingerprint_of(method=method, path=path, body=body)
        for method, path, body in [
            ("POST", "/a", b"x"),
            ("PUT", "/a", b"x"),
            ("POST", "/b", b"x"),
            ("POST", "/a", b"y"),
        ]
    }
    assert len(prints) == 4


def test_a_key_and_its_user_are_two_callers(actor: Actor) -> None:
    with_key = Actor(kind=actor.kind, user_id=actor.user_id, organization_id=actor.organization_id, api_key_id=uuid7())
    assert caller_of(with_key) != caller_of(actor)
