"""What one call uses, and the journal lines that say so."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import Any
from uuid import UUID

import orjson
import structlog

from apps.billing.services.pricing import card_values, cost_micros
from apps.core.errors import AppError
from apps.gateway.choices import CallStatus
from apps.gateway.providers.base import MAX_COUNT, Chunk, Completion, Usage
from apps.gateway.providers.tokens import estimate_text
from apps.gateway.runtime.journal import Journal, Segment
from apps.gateway.runtime.lease_book import Reservation
from apps.gateway.runtime.metrics import metrics_of
from apps.gateway.selectors import Caller, Route
from apps.gateway.services.facts import CallFacts, clean_text
from apps.gateway.services.metering import count_completion, count_stream

logger = structlog.get_logger(__name__)

PROGRESS_SECONDS = 2.0
STATUS_OF_CANCELLED = 499
"""What the record of a call says whose caller left: no answer was sent. (nginx has used this number for it for long.)"""
MAX_UPSTREAM_ID = 200
COUNTS = tuple(field.name for field in fields(Usage) if field.name != "service_tier")


class Meter:
    """Counts one call and writes its journal lines: one before each forwarding, some under way, one at the end."""

    __slots__ = (
        "_caller",
        "_endpoint",
        "_facts",
        "_forwarded_at",
        "_is_stream",
        "_journal",
        "_next_progress",
        "_request",
        "_request_id",
        "_reservation",
        "_route",
        "_segment",
        "_started",
        "_texts",
        "attempts",
        "completion",
        "cost_micros",
        "first_token_ms",
        "is_estimated",
        "model",
        "prompt_estimate",
        "status",
        "usage",
    )  # fmt: skip

    def __init__(
        self,
        *,
        journal: Journal,
        caller: Caller,
        request: dict[str, Any],
        request_id: UUID,
        endpoint: str,
        is_stream: bool,
        facts: CallFacts,
        reservation: Reservation | None = None,
    ) -> None:
        self._journal = journal
        self._caller = caller
        self._request = request
        self._request_id = request_id
        self.model = facts.model
        """The model that was asked last; before that, the name that the caller used."""
        self._endpoint = endpoint
        self._is_stream = is_stream
        self._segment: Segment | None = None
        self._route: Route | None = None
        self._texts: list[str] = []
        self._forwarded_at = 0
        self._started = 0.0
        self._next_progress = 0.0
        self._facts = facts
        self._reservation = reservation
        self.prompt_estimate = facts.prompt_tokens
        self.attempts = 0
        self.completion: Completion | None = None
        self.first_token_ms: int | None = None
        self.usage: Usage | None = None
        self.cost_micros: int | None = None
        self.is_estimated = False
        self.status: CallStatus | None = None

    def forward(self, route: Route, *, model: str) -> None:
        """Write down, before anything leaves, where the call goes. Raise JournalRefused when the disk refuses."""
        self.model = model
        if self._segment is None:
            self._forwarded_at = self._count_from(time.time_ns() // 1000)
            self._started = time.perf_counter()
            self._next_progress = self._started + PROGRESS_SECONDS
            self._segment = self._journal.begin(self._forward_line(route))
        else:
            self._journal.note(self._segment, self._forward_line(route))
        self.attempts += 1
        self._route = route

    def take(self, batch: list[Chunk]) -> None:
        """Count the events of one network read."""
        texts = self._texts
        for chunk in batch:
            if chunk.text:
                texts.append(chunk.text)
            if chunk.other_text:
                texts.append(chunk.other_text)
            if chunk.usage is not None:
                self.usage = chunk.usage
        now = time.perf_counter()
        if self.first_token_ms is None:
            self.first_token_ms = int((now - self._started) * 1000)
        if now > self._next_progress and self._segment is not None:
            self._next_progress = now + PROGRESS_SECONDS
            self._journal.note(self._segment, self._progress_line(now))

    def settle(self, status: CallStatus, *, error: AppError | None = None, is_final: bool = False) -> None:
        """Write down how the call ended; only the first time counts.

        `is_final` says that the provider's figures, where there are any, are its last ones. Raise JournalRefused when the
        disk refuses; the line is then written as soon as it lets us.
        """
        if self.status is not None or self._segment is None or self._route is None:
            return
        self.status = status
        has_output = self.completion is not None or self.first_token_ms is not None
        if status is CallStatus.ERROR and not has_output:
            self.usage = Usage()
        elif self.usage is None or not is_final:
            self._count()
        usage = self.usage = bound_usage(self.usage or Usage())
        self.cost_micros = cost_micros(
            self._route.price_in(usage.service_tier),
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
        )
        seconds = time.perf_counter() - self._started
        self._measure(usage, seconds)
        self._journal.finish(self._segment, self._done_line(usage, seconds, error))
        self._texts.clear()

    @property
    def route(self) -> Route | None:
        """Return where the call went last; None before it was forwarded."""
        return self._route

    @property
    def seconds(self) -> float:
        """Return how long ago the call was first forwarded."""
        return time.perf_counter() - self._started

    @property
    def tokens_so_far(self) -> int:
        """Return the tokens of the answer as far as it has come, estimated."""
        return estimate_text("".join(self._texts))

    def settled_usage(self) -> Usage:
        """Return what an ended call has used: the provider's figures, or ours."""
        assert self.usage is not None
        return self.usage

    def _count(self) -> None:
        assert self._route is not None
        self.is_estimated = True
        model = self._route.target.upstream_model
        if self.completion is not None:
            self.usage = count_completion(
                self.completion, self._request, model=model, prompt_estimate=self.prompt_estimate
            )
        else:
            self.usage = count_stream(
                self._texts, self._request, model=model, prompt_estimate=self.prompt_estimate, known=self.usage
            )

    def _measure(self, usage: Usage, seconds: float) -> None:
        assert self._route is not None
        assert self.status is not None
        metrics = metrics_of(self.model, self._route.target.provider, self.status.value)
        metrics.requests.inc()
        metrics.latency.observe(seconds)
        metrics.prompt_tokens.inc(usage.prompt_tokens)
        metrics.completion_tokens.inc(usage.completion_tokens)
        metrics.cost.inc(self.cost_micros or 0)
        if self.first_token_ms is not None:
            metrics.first_token.observe(self.first_token_ms / 1000)

    def _forward_line(self, route: Route) -> bytes:
        actor, facts, team_id = self._caller.actor, self._facts, self._caller.terms.team_id
        line: dict[str, Any] = {
            "k": "f",
            "a": self._request_id.hex,
            "at": self._forwarded_at,
            "org": actor.organization_id.hex if actor.organization_id else "",
            "usr": actor.user_id.hex if actor.user_id else "",
            "key": actor.api_key_id.hex if actor.api_key_id else "",
            "m": self.model,
            "p": route.target.provider,
            "um": route.target.upstream_model,
            "ep": self._endpoint,
            "st": self._is_stream,
            "pt": self.prompt_estimate,
            "pr": card_values(route.price),
            "eu": facts.end_user,
        }
        if team_id is not None:
            line["tm"] = team_id.hex
        if facts.tags:
            line["tg"] = facts.tags
        if self._reservation is not None:
            line["bl"] = self._reservation.charges
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def _count_from(self, now: int) -> int:
        """Return when the call counts as made, in microseconds: within the window of the budgets that let it in."""
        if self._reservation is None or now < self._reservation.latest_at * 1_000_000:
            return now
        return int(self._reservation.latest_at) * 1_000_000 - 1

    def _progress_line(self, now: float) -> bytes:
        return orjson.dumps(
            {
                "k": "p",
                "a": self._request_id.hex,
                "ct": estimate_text("".join(self._texts)),
                "ms": int((now - self._started) * 1000),
                "ft": self.first_token_ms,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )

    def _done_line(self, usage: Usage, seconds: float, error: AppError | None) -> bytes:
        assert self.status is not None
        status = 200 if self.status is CallStatus.OK else STATUS_OF_CANCELLED
        if error is not None:
            status = error.status
        line: dict[str, Any] = {
            "k": "d",
            "a": self._request_id.hex,
            "s": self.status.value,
            "pt": usage.prompt_tokens,
            "ct": usage.completion_tokens,
            "ca": usage.cached_tokens,
            "cw": usage.cache_write_tokens,
            "rt": usage.reasoning_tokens,
            "c": self.cost_micros,
            "e": self.is_estimated,
            "hs": status,
            "ec": error.code if error is not None else "",
            "ms": int(seconds * 1000),
            "ft": self.first_token_ms,
            "n": self.attempts,
            "ui": clean_text((self.completion and self.completion.upstream_request_id) or "")[:MAX_UPSTREAM_ID],
        }
        if usage.service_tier:
            line["sv"] = usage.service_tier
        if usage.cache_write_1h_tokens:
            line["c1"] = usage.cache_write_1h_tokens
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def bound_usage(usage: Usage) -> Usage:
    """Return counts that the database can hold: a prompt's parts may each be believable and their sum not."""
    most = max(
        usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens,
        usage.cache_write_tokens, usage.cache_write_1h_tokens,
    )  # fmt: skip
    return usage if most <= MAX_COUNT else replace(usage, **{n: min(getattr(usage, n), MAX_COUNT) for n in COUNTS})
