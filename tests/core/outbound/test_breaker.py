"""Circuits open after failures in a row, let one probe through, and outlive Redis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from apps.core.outbound import breaker, resting
from apps.core.outbound.breaker import Circuit
from apps.core.outbound.errors import CircuitOpen, FailureKind
from apps.core.outbound.recording import recent_calls, record_call

CIRCUIT = Circuit("tests:remote", threshold=3, open_seconds=30, probe_seconds=60)


@pytest.fixture(params=["shared", "local"])
def _store(request, monkeypatch):
    """Run a test with the state in Redis, and again without Redis."""
    monkeypatch.setattr(breaker, "_local", breaker._LocalCircuits())
    if request.param == "local":

        def refuse():
            raise RedisConnectionError("down")

        monkeypatch.setattr(resting, "get_redis", refuse)
        monkeypatch.setattr(resting, "_rests_until", 0.0)


def fail(times: int, kind: FailureKind = FailureKind.CONNECT) -> None:
    for _ in range(times):
        breaker.record_failure(CIRCUIT, kind)


@pytest.mark.usefixtures("_store")
class TestCircuit:
    def test_it_opens_at_the_threshold_and_not_before(self) -> None:
        fail(2)
        breaker.enter(CIRCUIT)
        assert not breaker.is_open(CIRCUIT)
        fail(1)
        assert breaker.is_open(CIRCUIT)
        with pytest.raises(CircuitOpen, match="tests:remote failed several times"):
            breaker.enter(CIRCUIT)
        state = breaker.find_state("tests:remote")
        assert (state.state, state.failures) == ("open", 3)

    def test_a_success_in_between_starts_the_count_again(self) -> None:
        fail(2)
        breaker.record_success(CIRCUIT)
        fail(2)
        breaker.enter(CIRCUIT)
        assert breaker.find_state("tests:remote").failures == 2

    def test_only_one_probe_goes_and_its_failure_opens_again(self, time_machine_at) -> None:
        fail(3)
        time_machine_at.shift(30)
        assert not breaker.is_open(CIRCUIT)
        breaker.enter(CIRCUIT)
        assert breaker.is_open(CIRCUIT)
        assert breaker.find_state("tests:remote").state == "half_open"
        with pytest.raises(CircuitOpen):
            breaker.enter(CIRCUIT)
        fail(1)
        with pytest.raises(CircuitOpen) as caught:
            breaker.enter(CIRCUIT)
        assert caught.value.retry_after_seconds == 30

    def test_a_probe_that_never_came_back_gives_way_to_another(self, time_machine_at) -> None:
        fail(3)
        time_machine_at.shift(30)
        breaker.enter(CIRCUIT)
        time_machine_at.shift(60)
        assert not breaker.is_open(CIRCUIT)
        breaker.enter(CIRCUIT)

    def test_the_probes_success_closes(self, time_machine_at) -> None:
        fail(3)
        time_machine_at.shift(30)
        breaker.enter(CIRCUIT)
        breaker.record_success(CIRCUIT)
        breaker.enter(CIRCUIT)
        assert breaker.find_state("tests:remote").state == "closed"
        assert breaker.list_states() == []

    def test_a_straggler_does_not_prolong_the_rest(self, time_machine_at) -> None:
        fail(3)
        time_machine_at.shift(29)
        fail(1)
        with pytest.raises(CircuitOpen) as caught:
            breaker.enter(CIRCUIT)
        assert caught.value.retry_after_seconds == 1

    def test_kinds_that_do_not_trip_are_not_counted(self) -> None:
        fail(9, FailureKind.REFUSED)
        breaker.enter(CIRCUIT)
        only_timeouts = Circuit("tests:slow", threshold=1, trips_on=frozenset({FailureKind.TIMEOUT}))
        breaker.record_failure(only_timeouts, FailureKind.CONNECT)
        breaker.enter(only_timeouts)
        breaker.record_failure(only_timeouts, FailureKind.TIMEOUT)
        with pytest.raises(CircuitOpen):
            breaker.enter(only_timeouts)

    def test_circuits_are_listed_by_name(self) -> None:
        fail(1)
        breaker.record_failure(Circuit("tests:another"), FailureKind.CUT)
        assert [state.name for state in breaker.list_states()] == ["tests:another", "tests:remote"]

    def test_of_many_callers_at_once_one_probes(self, time_machine_at) -> None:
        fail(3)
        time_machine_at.shift(30)

        def go(_):
            try:
                breaker.enter(CIRCUIT)
            except CircuitOpen:
                return 0
            return 1

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(go, range(40))) == 1


def test_redis_is_left_alone_for_a_while_after_it_failed(monkeypatch) -> None:
    asked = []

    def refuse():
        asked.append(1)
        raise RedisConnectionError("down")

    monkeypatch.setattr(breaker, "_local", breaker._LocalCircuits())
    monkeypatch.setattr(resting, "_rests_until", 0.0)
    monkeypatch.setattr(resting, "get_redis", refuse)
    for _ in range(5):
        breaker.enter(CIRCUIT)
    record_call(purpose="tests", method="GET", host="a", status=None, outcome="cut", duration_seconds=0.1)
    assert recent_calls() == []
    assert asked == [1]
