"""The ways of one call: which deployment is asked, which one next when that fails, and when to give up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import ceil

from django.conf import settings

from apps.core.errors import AppError
from apps.gateway.choices import Breaker
from apps.gateway.errors import DeploymentsBusy, DeploymentsResting
from apps.gateway.providers.base import UpstreamError
from apps.gateway.providers.failures import BLAMELESS, REPEATABLE, Failure, classify
from apps.gateway.runtime.health import backoff_seconds
from apps.gateway.runtime.metrics import ATTEMPTS, FALLBACKS
from apps.gateway.runtime.sharing import Sharing
from apps.gateway.selectors import ModelEntry, Route
from apps.gateway.services.routing.choosing import Choice
from apps.gateway.services.routing.ordering import order_routes

SHORT_WAIT_SECONDS = 3.0
"""A provider that asks for no more is waited for when there is no other way to the model."""
BUSY_SECONDS = 1.0
"""When to try again where all places are taken: nobody knows when a call ends."""
DOWN = "down"
ERROR = "error"


@dataclass(frozen=True, slots=True)
class Way:
    """One deployment of one model. `reason` says why it is not the model that was meant; empty when it is."""

    entry: ModelEntry
    route: Route
    reason: str = ""


class Plan:
    """Decides, one attempt after the other, where a call goes. Used by one task.

    `next` gives the way to try, its place and trial taken; `answered` or `failed` tell what became of it; `release` ends it.
    """

    __slots__ = (
        "_again", "_blocked", "_choice", "_deadline", "_error", "_has_place", "_is_over", "_is_stream", "_left", "_name",
        "_on_trial", "_places", "_reason", "_seen", "_sharing", "_sleep", "_stages", "_tries", "attempts", "way",
    )  # fmt: skip

    def __init__(
        self,
        choice: Choice,
        *,
        sharing: Sharing,
        name: str,
        is_stream: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._choice = choice
        self._sharing = sharing
        self._name = name
        self._is_stream = is_stream
        self._sleep = sleep
        self._deadline = 0.0
        self._left: list[Way] | None = None
        self._again: list[tuple[float, Way]] = []
        self._stages: list[ModelEntry] | None = None
        self._reason = ""
        self._seen: set[str] = set()
        self._tries: dict[str, int] = {}
        self._blocked: list[tuple[Way, float, bool]] = []
        self._error: UpstreamError | None = None
        self._is_over = False
        self._has_place = False
        self._on_trial = False
        self._places = 0
        self.attempts = 0
        self.way: Way | None = None

    @property
    def is_fallback(self) -> bool:
        """Tell whether the present way leads to another model than the one that was meant."""
        return self.way is not None and bool(self.way.reason)

    async def next(self) -> Way:
        """Return the way to try now, waiting a little where that is all there is to do.

        Raise the last failure when nothing is left, DeploymentsBusy or DeploymentsResting when nothing could be asked.
        """
        if self._left is None:
            self._begin()
        while not self._is_over and self.attempts < settings.GATEWAY_ROUTING_ATTEMPTS:
            while self._left:
                way = self._left.pop(0)
                if await self._enter(way):
                    return way
            if not await self._wait_for_another_try() and not self._advance():
                break
        raise self._verdict()

    def answered(self, seconds: float) -> None:
        """Take down that the present way brought an answer, or the beginning of one, after so many seconds."""
        way = self.way
        assert way is not None
        ATTEMPTS.labels(way.route.target.provider, "ok").inc()
        if way.reason:
            FALLBACKS.labels(self._choice.entry.info.name, way.reason).inc()
        self._sharing.health.answered(way.route, seconds, is_stream=self._is_stream)
        self._end_trial(has_told=True)

    def failed(self, error: UpstreamError) -> None:
        """Take down that the present way failed, and decide what to do now."""
        way = self.way
        assert way is not None
        kind = classify(error)
        self._error = error
        ATTEMPTS.labels(way.route.target.provider, kind.value).inc()
        tries = self._tries[way.route.deployment_id]
        is_first_stale = kind is Failure.STALE and tries == 1
        if kind not in BLAMELESS and not is_first_stale:
            self.blame(error, kind)
        self.release()
        if kind in {Failure.CONTEXT, Failure.CONTENT}:
            self._turn_to(self._choice.stand_ins(kind), kind.value)
        elif not error.may_fall_over:
            self._is_over = True
        elif is_first_stale:
            assert self._left is not None
            self._left.insert(0, way)
        elif kind in REPEATABLE and tries < way.route.max_attempts:
            self._remember(way, error, kind)

    def blame(self, error: UpstreamError, kind: Failure | None = None) -> None:
        """Count a failure against the present deployment: also one that comes after the beginning of an answer."""
        kind = kind or classify(error)
        if self.way is None or kind in BLAMELESS:
            return
        self._sharing.health.failed(
            self.way.route,
            reason=kind.value,
            retry_after=error.retry_after_seconds,
            is_rate=kind is Failure.RATE,
        )
        self._end_trial(has_told=True)

    def release(self) -> None:
        """Give the place and the trial back. Harmless when there are none."""
        if self._has_place and self.way is not None:
            self._has_place = False
            self._sharing.give_place_back(self.way.route, self._place_name())
        self._end_trial(has_told=False)

    # Stages: the model that was meant, then each that may stand in for it

    def _begin(self) -> None:
        choice = self._choice
        self._deadline = self._sharing.health.now() + settings.GATEWAY_ROUTING_SECONDS
        if choice.is_too_long and (stand_ins := choice.stand_ins(Failure.CONTEXT)):
            self._turn_to(stand_ins, Failure.CONTEXT.value)
            self._advance()
            return
        self._left = self._ways(choice.entry, "")
        routing = choice.snapshot.routing
        health = self._sharing.health
        if choice.named.fallbacks or choice.wishes.fallbacks:
            # Whoever is known to be down is asked when nobody else is left.
            doubtful = [way for way in self._left if health.is_down(way.route, routing.down)]
            if doubtful and (stand_ins := choice.stand_ins()):
                sound = [way for way in self._left if way not in doubtful]
                self._stages = [*stand_ins, _narrow(choice.entry, doubtful)]
                self._left = sound
                self._reason = DOWN

    def _turn_to(self, entries: list[ModelEntry], reason: str) -> None:
        self._left, self._again, self._stages, self._reason = [], [], list(entries), reason
        self._is_over = not entries

    def _advance(self) -> bool:
        """Go over to the next model; tell whether there is one."""
        if self._stages is None:
            self._stages = self._choice.stand_ins()
            self._reason = ERROR
        while self._stages:
            entry = self._stages.pop(0)
            is_meant = entry.info.name == self._choice.entry.info.name
            self._left = [
                way
                for way in self._ways(entry, "" if is_meant else self._reason)
                if way.route.deployment_id not in self._seen
            ]
            if self._left:
                return True
        return False

    def _ways(self, entry: ModelEntry, reason: str) -> list[Way]:
        choice = self._choice
        routes = order_routes(
            entry.routes,
            strategy=entry.strategy,
            health=self._sharing.health,
            facts=choice.facts,
            is_stream=self._is_stream,
            down=choice.snapshot.routing.down,
        )
        return [Way(entry, route, reason) for route in routes]

    # Attempts

    async def _enter(self, way: Way) -> bool:
        """Take what an attempt needs; tell whether it may be made, and keep in mind why not."""
        route, health = way.route, self._sharing.health
        name = route.deployment_id
        standing = health.standing(name)
        if standing is Breaker.OPEN:
            seconds, is_limited = health.blocked_for(name), health.is_rate_limited(name)
            self._blocked.append((way, seconds, is_limited))
            if is_limited and seconds <= SHORT_WAIT_SECONDS and name not in self._seen:
                self._again.append((health.now() + seconds, way))
            return False
        if standing is Breaker.HALF_OPEN:
            if not await self._sharing.take_trial(name):
                self._blocked.append((way, max(health.blocked_for(name), BUSY_SECONDS), False))
                return False
            self._on_trial = True
        self.way = way
        if route.max_parallel is not None and not await self._take_place(way):
            self._blocked.append((way, BUSY_SECONDS, True))
            self._end_trial(has_told=False)
            return False
        self._seen.add(name)
        self._tries[name] = self._tries.get(name, 0) + 1
        self.attempts += 1
        return True

    async def _take_place(self, way: Way) -> bool:
        self._places += 1
        try:
            self._has_place = await self._sharing.take_place(way.route, self._place_name())
        except BaseException:
            self._end_trial(has_told=False)
            raise
        return self._has_place

    def _place_name(self) -> str:
        return f"{self._name}.{self._places}"

    def _remember(self, way: Way, error: UpstreamError, kind: Failure) -> None:
        """Keep in mind that a deployment may be asked again: one that says when, if that is soon, or the only one there is."""
        retry_after = error.retry_after_seconds or 0.0
        is_alone = len(self._seen) == 1 and not self._left
        if retry_after <= SHORT_WAIT_SECONDS and (is_alone or (kind is Failure.RATE and retry_after)):
            due = self._sharing.health.now() + max(retry_after, backoff_seconds(self._tries[way.route.deployment_id]))
            self._again.append((due, way))

    async def _wait_for_another_try(self) -> bool:
        """Wait until the first of those that may be asked again is due; tell whether there is one."""
        if not self._again:
            return False
        due, way = min(self._again, key=lambda again: again[0])
        self._again.remove((due, way))
        health = self._sharing.health
        if due > self._deadline:
            return False
        # A clock of milliseconds may wake a little early.
        await self._sleep(max(0.0, due - health.now()) + 0.005)
        self._left = [way]
        return True

    def _end_trial(self, *, has_told: bool) -> None:
        if not self._on_trial or self.way is None:
            return
        self._on_trial = False
        name = self.way.route.deployment_id
        if not has_told:
            self._sharing.health.give_trial_back(name)
        self._sharing.end_trial(name)

    def _verdict(self) -> AppError:
        """Return what to tell the caller."""
        if self._error is not None:
            return self._error
        model = self._choice.asked
        seconds = max(0.1, min((seconds for _, seconds, _ in self._blocked), default=BUSY_SECONDS))
        providers = ", ".join(dict.fromkeys(way.route.target.provider for way, _, _ in self._blocked))
        when = f"try again in {ceil(seconds)} s"
        if any(is_busy for _, _, is_busy in self._blocked):
            return DeploymentsBusy(
                f"Every deployment of model {model!r} ({providers}) has as many calls as it may have; {when}.",
                retry_after_seconds=seconds,
            )
        return DeploymentsResting(
            f"Every deployment of model {model!r} ({providers}) failed again and again and is cooling down; {when}.",
            retry_after_seconds=seconds,
        )


def _narrow(entry: ModelEntry, ways: list[Way]) -> ModelEntry:
    return ModelEntry(entry.info, tuple(way.route for way in ways), entry.strategy, entry.fallbacks)
