"""Circuit breakers: what fails again and again is left alone for a while, then tried by one call.

The state is in Redis, so that all processes share it; every change is one script. Without Redis each process keeps its
own state, which is still right, only later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import structlog
from redis.exceptions import RedisError

from apps.core.outbound.errors import CircuitOpen, FailureKind
from apps.core.outbound.resting import let_redis_rest, resting_redis

logger = structlog.get_logger(__name__)

KEY = "outbound:circuit:"
FORGET_SECONDS = 600
EVERY_FAILURE = frozenset(FailureKind) - {FailureKind.REFUSED, FailureKind.CIRCUIT_OPEN}

# Times are milliseconds of the callers' clocks. Returns how long the caller must wait; 0 lets it go.
ENTER = """
local opened = tonumber(redis.call('HGET', KEYS[1], 'opened_at') or '0')
if opened == 0 then return 0 end
local now = tonumber(ARGV[1])
if opened + tonumber(ARGV[2]) > now then return opened + tonumber(ARGV[2]) - now end
local probing = tonumber(redis.call('HGET', KEYS[1], 'probe_until') or '0')
if probing > now then return probing - now end
redis.call('HSET', KEYS[1], 'probe_until', now + tonumber(ARGV[3]))
return 0
"""
# A call that began before the circuit opened and fails afterwards says nothing new.
FAIL = """
local opened = redis.call('HEXISTS', KEYS[1], 'opened_at') == 1
if opened and redis.call('HEXISTS', KEYS[1], 'probe_until') == 0 then return 0 end
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if not opened and failures < tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'opened_at', ARGV[1])
redis.call('HDEL', KEYS[1], 'probe_until')
return 1
"""


@dataclass(frozen=True, slots=True)
class Circuit:
    """What is protected: `name` identifies the remote side.

    After `threshold` failures of the kinds in `trips_on` without a success between them it opens for `open_seconds`;
    then one call may probe, for `probe_seconds` at the most.
    """

    name: str
    threshold: int = 5
    open_seconds: float = 30.0
    probe_seconds: float = 60.0
    trips_on: frozenset[FailureKind] = EVERY_FAILURE


@dataclass(frozen=True, slots=True)
class CircuitState:
    """A circuit as operators see it: `state` is closed, open or half_open; times are Unix seconds."""

    name: str
    state: str
    failures: int
    opened_at: float | None
    probe_until: float | None


@dataclass(slots=True)
class _Local:
    failures: int = 0
    opened_at: float = 0.0
    probe_until: float = 0.0


@dataclass(slots=True)
class _LocalCircuits:
    """This process's own states, for as long as Redis does not answer."""

    states: dict[str, _Local] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, circuit: Circuit, now: float) -> float:
        with self.lock:
            state = self.states.get(circuit.name)
            if state is None or not state.opened_at:
                return 0.0
            wait = max(state.opened_at + circuit.open_seconds, state.probe_until) - now
            if wait > 0:
                return wait
            state.probe_until = now + circuit.probe_seconds
            return 0.0

    def fail(self, circuit: Circuit, now: float) -> bool:
        with self.lock:
            state = self.states.setdefault(circuit.name, _Local())
            if state.opened_at and not state.probe_until:
                return False
            state.failures += 1
            if not state.opened_at and state.failures < circuit.threshold:
                return False
            state.opened_at, state.probe_until = now, 0.0
            return True

    def succeed(self, circuit: Circuit) -> None:
        with self.lock:
            self.states.pop(circuit.name, None)


_local = _LocalCircuits()


def enter(circuit: Circuit) -> None:
    """Let a call go, or raise CircuitOpen with the time after which to try again."""
    wait = _ask(circuit, ENTER, [_milliseconds(circuit.open_seconds), _milliseconds(circuit.probe_seconds)])
    seconds = _local.enter(circuit, time.time()) if wait is None else wait / 1000
    if seconds > 0:
        raise CircuitOpen(
            f"{circuit.name} failed several times in a row; it is tried again in {seconds:.1f} s.",
            retry_after_seconds=seconds,
        )


def is_open(circuit: Circuit) -> bool:
    """Tell whether a call would have to wait now, without taking the probe's place."""
    state = find_state(circuit.name)
    if state.opened_at is None:
        return False
    return time.time() < max(state.opened_at + circuit.open_seconds, state.probe_until or 0)


def record_success(circuit: Circuit) -> None:
    """Close the circuit and forget its failures."""
    _local.succeed(circuit)
    try:
        resting_redis().delete(KEY + circuit.name)
    except RedisError as error:
        let_redis_rest(error)


def record_failure(circuit: Circuit, kind: FailureKind) -> None:
    """Count a failure if it is of a kind that trips the circuit."""
    if kind not in circuit.trips_on:
        return
    opened = _ask(circuit, FAIL, [circuit.threshold, _milliseconds(FORGET_SECONDS + circuit.open_seconds)])
    if _local.fail(circuit, time.time()) if opened is None else opened:
        logger.warning("circuit_opened", circuit=circuit.name, kind=kind.value, seconds=circuit.open_seconds)


def find_state(name: str) -> CircuitState:
    """Return a circuit as it stands."""
    try:
        fields = cast("dict[bytes, bytes]", resting_redis().hgetall(KEY + name))
    except RedisError as error:
        let_redis_rest(error)
        local = _local.states.get(name, _Local())
        return _describe(name, local.failures, local.opened_at, local.probe_until)
    opened, probe = (int(fields.get(key, 0)) / 1000 for key in (b"opened_at", b"probe_until"))
    return _describe(name, int(fields.get(b"failures", 0)), opened, probe)


def list_states() -> list[CircuitState]:
    """Return every circuit with failures, by name; of this process only while Redis does not answer."""
    try:
        names = [key.decode().removeprefix(KEY) for key in resting_redis().scan_iter(f"{KEY}*", count=500)]
    except RedisError as error:
        let_redis_rest(error)
        names = list(_local.states)
    return [find_state(name) for name in sorted(names)]


def _describe(name: str, failures: int, opened_at: float, probe_until: float) -> CircuitState:
    state = "closed" if not opened_at else "half_open" if probe_until else "open"
    return CircuitState(name, state, failures, opened_at or None, probe_until or None)


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _ask(circuit: Circuit, script: str, arguments: Sequence[int]) -> int | None:
    """Return the script's answer; None while Redis does not answer."""
    try:
        wait = resting_redis().eval(script, 1, KEY + circuit.name, _milliseconds(time.time()), *arguments)
        return cast("int", wait)
    except RedisError as error:
        let_redis_rest(error)
        return None
