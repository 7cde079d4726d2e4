"""What calls and probes tell of each deployment: who is left alone for a while, who is on trial, who is quick.

One per event loop. Everything here is in memory and takes no time; runtime/sharing.py tells the other processes.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from apps.gateway.choices import Breaker
from apps.gateway.runtime.metrics import BREAKERS_OPEN, BREAKERS_OPENED
from apps.gateway.selectors.catalogue import Route

REST_SECONDS = 10.0
"""After one failure others are preferred for so long."""
LONGEST_COOL_DOWN_SECONDS = 300.0
LONGEST_BAR_SECONDS = 120.0
"""Of a provider's Retry-After no more is believed."""
WINDOW_SECONDS = 30.0
WINDOW_CALLS = 20
WINDOW_SHARE = 0.5
"""So many calls within the window, half of them failed: the deployment is left alone too."""
TRIAL_SECONDS = 120.0
"""A trial that says nothing for so long is given to another call."""
SMOOTHING = 0.3
HALF_LIFE_SECONDS = 60.0
"""An old measurement counts for less, until the deployment is tried again."""
VERDICT_SECONDS = 30.0
"""Word of a probe holds until the catalogue, which has it from the database, has been read again."""

Share = Callable[[dict[str, Any]], None]


def share_nothing(told: dict[str, Any]) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class State:
    """What is known of one deployment. Times are the clock's."""

    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    barred_until: float = 0.0
    opened_until: float | None = None
    """None while the breaker is closed."""
    openings: int = 0
    """In a row: each lasts twice as long as the one before."""
    trial_until: float = 0.0
    reason: str = ""
    window_began: float = 0.0
    window_calls: int = 0
    window_failures: int = 0
    latency: list[float] = field(default_factory=lambda: [0.0, 0.0])
    """Smoothed seconds of whole answers, and to the first token of streams; 0 when unknown."""
    measured_at: list[float] = field(default_factory=lambda: [0.0, 0.0])
    is_news: bool = False
    """The measurement has not been told to others."""


class Health:
    """The state of all deployments, by their public id."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        share: Share = share_nothing,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._share = share
        self._verdicts: dict[str, tuple[bool, float]] = {}
        self.states: dict[str, State] = {}

    # Questions

    def now(self) -> float:
        """Return the clock's time, in seconds."""
        return self._clock()

    def standing(self, deployment_id: str) -> Breaker:
        """Return how a deployment may be used now."""
        state = self.states.get(deployment_id)
        if state is None:
            return Breaker.CLOSED
        now = self._clock()
        if state.barred_until > now:
            return Breaker.OPEN
        if state.opened_until is not None:
            return Breaker.OPEN if state.opened_until > now else Breaker.HALF_OPEN
        return Breaker.RESTING if state.rests_until > now else Breaker.CLOSED

    def blocked_for(self, deployment_id: str) -> float:
        """Return the seconds until a deployment may be asked again, 0 for now."""
        state = self.states.get(deployment_id)
        if state is None:
            return 0.0
        now = self._clock()
        until = max(state.barred_until, state.opened_until or 0.0)
        if state.opened_until is not None:
            until = max(until, state.trial_until)
        return max(0.0, until - now)

    def is_rate_limited(self, deployment_id: str) -> bool:
        """Tell whether the provider asked to be left alone for a while."""
        state = self.states.get(deployment_id)
        return state is not None and state.barred_until > self._clock()

    def is_down(self, route: Route, known_down: Collection[str]) -> bool:
        """Tell whether the last probes found the deployment or its provider down; `known_down` is the catalogue's word."""
        if not known_down and not self._verdicts:
            return False
        return any(self._judge(subject, known_down) for subject in (route.target.provider, route.deployment_id))

    def latency(self, deployment_id: str, *, is_stream: bool) -> float:
        """Return the expected seconds to the first token, or of a whole answer; old knowledge fades to 0, as unknown is."""
        state = self.states.get(deployment_id)
        if state is None or not state.latency[is_stream]:
            return 0.0
        age = self._clock() - state.measured_at[is_stream]
        return float(state.latency[is_stream] * 0.5 ** (age / HALF_LIFE_SECONDS))

    # What calls tell

    def take_trial(self, deployment_id: str) -> bool:
        """Take the one trial of a deployment that has cooled down; tell whether it was to be had."""
        state = self.states[deployment_id]
        now = self._clock()
        if state.trial_until > now:
            return False
        state.trial_until = now + TRIAL_SECONDS
        return True

    def give_trial_back(self, deployment_id: str) -> None:
        """Let another call have the trial: this one ended without telling anything."""
        state = self.states.get(deployment_id)
        if state is not None:
            state.trial_until = 0.0

    def answered(self, route: Route, seconds: float, *, is_stream: bool) -> None:
        """Take down that a deployment answered, and how quickly."""
        state = self._state(route.deployment_id)
        now = self._clock()
        if state.failures or state.opened_until is not None:
            self._close(route.deployment_id, state)
        self._count(state, now, has_failed=False)
        known = state.latency[is_stream]
        state.latency[is_stream] = seconds if not known else known + SMOOTHING * (seconds - known)
        state.measured_at[is_stream] = now
        state.is_news = True

    def failed(self, route: Route, *, reason: str, retry_after: float | None = None, is_rate: bool = False) -> None:
        """Take down that a deployment failed; `retry_after` is what its provider asks for."""
        state = self._state(route.deployment_id)
        now = self._clock()
        state.failures += 1
        state.reason = reason
        state.rests_until = now + min(retry_after or REST_SECONDS, LONGEST_BAR_SECONDS)
        self._count(state, now, has_failed=True)
        if is_rate and retry_after:
            state.barred_until = now + min(retry_after, LONGEST_BAR_SECONDS)
            state.trial_until = 0.0
            self._tell(route.deployment_id, "barred", state.barred_until - now, state)
            return
        was_on_trial = state.opened_until is not None
        if was_on_trial or state.failures >= route.cool_down_failures or self._fails_often(state):
            self._open(route, state, now)

    # What others tell

    def hear(self, told: dict[str, Any]) -> None:
        """Take over what another process, or the prober, found. Raise KeyError, TypeError or ValueError for anything else."""
        kind, subject = told["kind"], str(told["subject"])
        if kind == "probe":
            self._verdicts[subject] = (bool(told["is_down"]), self._clock() + VERDICT_SECONDS)
            if not told["is_down"]:
                self._try_again(told.get("deployments", ()))
            return
        state = self._state(subject)
        if kind == "closed":
            self._forget_failures(state)
            BREAKERS_OPEN.labels(subject).set(0)
            return
        seconds = float(told["until"]) - self._wall_clock()
        if not math.isfinite(seconds) or seconds <= 0:
            return
        state.reason = str(told.get("reason", ""))[:64]
        if kind == "barred":
            state.barred_until = self._clock() + min(seconds, LONGEST_BAR_SECONDS)
        elif kind == "open":
            state.opened_until = self._clock() + min(seconds, LONGEST_COOL_DOWN_SECONDS)
            state.openings = max(state.openings, int(told.get("openings", 1)))
            state.trial_until = 0.0
            BREAKERS_OPEN.labels(subject).set(1)

    def hear_latency(self, deployment_id: str, latency: list[float], *, age: float) -> None:
        """Take over another process's measurement where there is none of our own."""
        state = self._state(deployment_id)
        for at in (0, 1):
            if not state.latency[at] and latency[at] > 0:
                state.latency[at] = latency[at]
                state.measured_at[at] = self._clock() - age

    def take_news(self) -> dict[str, list[float]]:
        """Return the measurements that others have not heard of yet."""
        news = {}
        for deployment_id, state in self.states.items():
            if state.is_news:
                state.is_news = False
                news[deployment_id] = list(state.latency)
        return news

    # Inside

    def _state(self, deployment_id: str) -> State:
        state = self.states.get(deployment_id)
        if state is None:
            state = self.states[deployment_id] = State()
        return state

    def _judge(self, subject: str, known_down: Collection[str]) -> bool:
        verdict = self._verdicts.get(subject)
        if verdict is not None:
            if verdict[1] > self._clock():
                return verdict[0]
            del self._verdicts[subject]
        return subject in known_down

    def _count(self, state: State, now: float, *, has_failed: bool) -> None:
        if now - state.window_began > WINDOW_SECONDS:
            state.window_began, state.window_calls, state.window_failures = now, 0, 0
        state.window_calls += 1
        state.window_failures += has_failed

    def _fails_often(self, state: State) -> bool:
        return state.window_calls >= WINDOW_CALLS and state.window_failures >= state.window_calls * WINDOW_SHARE

    def _open(self, route: Route, state: State, now: float) -> None:
        if state.opened_until is not None and state.opened_until > now:
            return  # a call that began before says nothing new
        seconds = min(route.cool_down_seconds * 2.0**state.openings, LONGEST_COOL_DOWN_SECONDS)
        state.opened_until = now + seconds
        state.openings = min(state.openings + 1, 16)
        state.trial_until = 0.0
        BREAKERS_OPEN.labels(route.deployment_id).set(1)
        BREAKERS_OPENED.labels(route.target.provider, state.reason).inc()
        self._tell(route.deployment_id, "open", seconds, state)

    def _close(self, deployment_id: str, state: State) -> None:
        was_open = state.opened_until is not None
        self._forget_failures(state)
        if was_open:
            BREAKERS_OPEN.labels(deployment_id).set(0)
            self._share({"kind": "closed", "subject": deployment_id})

    def _forget_failures(self, state: State) -> None:
        state.failures = state.openings = state.window_calls = state.window_failures = 0
        state.rests_until = state.trial_until = 0.0
        state.opened_until = None
        state.reason = ""

    def _try_again(self, deployments: Collection[str]) -> None:
        """Let trials begin at once: the probes say that the provider is back."""
        now = self._clock()
        for deployment_id in deployments:
            state = self.states.get(str(deployment_id))
            if state is not None and state.opened_until is not None:
                state.opened_until = min(state.opened_until, now)

    def _tell(self, deployment_id: str, kind: str, seconds: float, state: State) -> None:
        self._share(
            {
                "kind": kind,
                "subject": deployment_id,
                "until": self._wall_clock() + seconds,
                "openings": state.openings,
                "reason": state.reason,
            }
        )


def backoff_seconds(attempt: int, *, chance: Callable[[], float] = random.random) -> float:
    """Return how long to wait before the attempt after number `attempt` (from 1): 0.25 s doubling to 4 s, less up to half."""
    longest = min(0.25 * 2.0 ** (attempt - 1), 4.0)
    return longest * (0.5 + 0.5 * chance())
