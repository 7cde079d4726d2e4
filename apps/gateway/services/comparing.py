"""The same prompt to several models at once; to one, too, for its figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations
from typing import Any

import structlog

from apps.core.actor import Actor
from apps.core.errors import AppError
from apps.core.ids import encode_id, uuid7
from apps.gateway.errors import ParameterInvalid
from apps.gateway.providers.base import Usage
from apps.gateway.services.caching.assembling import Assembler
from apps.gateway.services.calls import RunningCall
from apps.gateway.services.opening import open_chat

logger = structlog.get_logger(__name__)

ENDPOINT = "models.compare"
FEWEST_MODELS = 1
MOST_MODELS = 8
WAITING_PIECES = 256
"""Pieces that wait for a slow reader before its models are made to wait."""
COMPARED_WORDS = 1_500
"""Words of each answer that are compared; what comes after them is not."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of one model's answer."""

    model: str
    text: str


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of one model: an answer, or the error that came instead (an answer as far as it came, too).

    Times are in milliseconds; `first_token_ms` is None when nothing was said. `message` is OpenAI's message object.
    """

    model: str
    message: dict[str, Any] | None = None
    finish_reason: str | None = None
    provider: str = ""
    request_id: str = ""
    attempts: int = 0
    usage: Usage | None = None
    cost_micros: int = 0
    latency_ms: int = 0
    first_token_ms: int | None = None
    cache: str = ""
    error: AppError | None = None

    @property
    def text(self) -> str:
        """Return what the model said."""
        return str((self.message or {}).get("content") or "")


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two answers lie apart, word by word. `similarity` is 1 for the same words in the same order."""

    first: str
    second: str
    similarity: float
    words_only_in_first: int
    words_only_in_second: int


def check_models(models: Sequence[str]) -> None:
    """Raise ParameterInvalid unless there are 1 to 8 different models."""
    if not FEWEST_MODELS <= len(models) <= MOST_MODELS:
        raise ParameterInvalid(f"Name {FEWEST_MODELS} to {MOST_MODELS} models in `models`.", param="models")
    if len(set(models)) < len(models):
        raise ParameterInvalid("A model is named twice in `models`.", param="models")


class Comparison:
    """Several calls of one actor with one prompt, running at once.

    Each is a call of its own: with its usage record, limits, budgets and guardrails. `events` is to be read to its end or
    closed; closing it stops every model.
    """

    def __init__(self, *, actor: Actor, request: dict[str, Any], models: Sequence[str]) -> None:
        check_models(models)
        self.public_id = encode_id("cmp", uuid7())
        self.results: dict[str, Compared] = {}
        self._actor = actor
        self._request = request
        self._models = tuple(models)
        self._pieces: asyncio.Queue[Piece | Compared] = asyncio.Queue(WAITING_PIECES)

    async def events(self) -> AsyncIterator[Piece | Compared]:
        """Yield pieces as they come, and each model's result when it has ended."""
        tasks = [asyncio.create_task(self._run(model)) for model in self._models]
        try:
            while len(self.results) < len(self._models):
                event = await self._pieces.get()
                if isinstance(event, Compared):
                    self.results[event.model] = event
                yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def ordered(self) -> list[Compared]:
        """Return the results in the order in which the models were named."""
        return [self.results[model] for model in self._models if model in self.results]

    async def _run(self, model: str) -> None:
        request = {**self._request, "model": model, "stream": True, "stream_options": {"include_usage": True}}
        begun = time.perf_counter()
        try:
            call = await open_chat(actor=self._actor, request=request, endpoint=ENDPOINT)
        except AppError as error:
            await self._pieces.put(Compared(model, latency_ms=_since(begun), error=error))
            return
        except Exception:
            logger.exception("comparison_failed", model=model)
            await self._pieces.put(Compared(model, latency_ms=_since(begun), error=make_defect()))
            return
        await self._pieces.put(await self._read(call, model, begun))

    async def _read(self, call: RunningCall, model: str, begun: float) -> Compared:
        assembler = Assembler()
        error: AppError | None = None
        first_token_ms: int | None = None
        try:
            async for batch in call.batches():
                assembler.take(batch)
                if first_token_ms is None and any(chunk.text or chunk.other_text for chunk in batch):
                    first_token_ms = _since(begun)
                text = "".join(chunk.text for chunk in batch)
                if text:
                    await self._pieces.put(Piece(model, text))
        except AppError as failure:
            error = failure
        except Exception:
            logger.exception("comparison_failed", model=model)
            error = make_defect()
        finally:
            await call.cancel()
        completion = assembler.build() or {}
        choice = (completion.get("choices") or [{}])[0]
        return Compared(
            model=model,
            message=choice.get("message"),
            finish_reason=choice.get("finish_reason"),
            provider=call.provider,
            request_id=call.public_id,
            attempts=call.meter.attempts,
            usage=call.usage,
            cost_micros=call.cost_micros or 0,
            latency_ms=_since(begun),
            first_token_ms=first_token_ms,
            cache=call.cache.state.value if call.cache is not None else "",
            error=error,
        )


def describe_differences(results: Sequence[Compared]) -> list[Difference]:
    """Return how each two answers differ; answers that failed are left out.

    Costs some milliseconds a pair: not for the event loop.
    """
    return [_differ(first, second) for first, second in combinations([one for one in results if not one.error], 2)]


def _differ(first: Compared, second: Compared) -> Difference:
    ours, theirs = first.text.split()[:COMPARED_WORDS], second.text.split()[:COMPARED_WORDS]
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    common = sum(block.size for block in matcher.get_matching_blocks())
    return Difference(
        first=first.model,
        second=second.model,
        similarity=round(matcher.ratio(), 4),
        words_only_in_first=len(ours) - common,
        words_only_in_second=len(theirs) - common,
    )


def _since(begun: float) -> int:
    return int((time.perf_counter() - begun) * 1000)


def make_defect() -> AppError:
    """Return what a caller is told of a failure that nobody expected."""
    return AppError("Something failed on our side; quote the request id.", code="internal_error", status=500)
