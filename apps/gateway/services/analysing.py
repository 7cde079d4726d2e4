"""Several analyses of one text at once, each for itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from apps.core.actor import Actor
from apps.core.errors import AppError
from apps.gateway.choices import Analysis
from apps.gateway.services.analysis import (
    Finding,
    extract_entities,
    find_topics,
    judge_sentiment,
    make_title,
    moderate,
    suggest_tags,
    summarize,
)
from apps.gateway.services.comparing import make_defect

logger = structlog.get_logger(__name__)

ENDPOINT = "playground.analysis"
MOST_AT_ONCE = 3
"""Analyses of one run that wait for a model at a time; the others wait for them."""

_SERVICES: Mapping[Analysis, Callable[..., Awaitable[Finding]]] = {
    Analysis.SUMMARY: summarize,
    Analysis.TITLE: make_title,
    Analysis.TAGS: suggest_tags,
    Analysis.SENTIMENT: judge_sentiment,
    Analysis.TOPICS: find_topics,
    Analysis.ENTITIES: extract_entities,
    Analysis.MODERATION: moderate,
}


@dataclass(frozen=True, slots=True)
class Analysed:
    """What came of one analysis: a finding, or the error that came instead. `latency_ms` is its own time."""

    analysis: Analysis
    finding: Finding | None = None
    error: AppError | None = None
    latency_ms: int = 0


async def analyse_text(
    *, actor: Actor, text: str, analyses: Sequence[Analysis], model: str = ""
) -> AsyncIterator[Analysed]:
    """Yield what each analysis finds, as each is ready.

    `model` empty: the built-in methods, without a model. Each call is one of its own, with its usage record (endpoint
    `playground.analysis`), limits, budgets and guardrails; an analysis that fails leaves the others alone. To be read to
    its end or closed; closing it stops them all.
    """
    gate = asyncio.Semaphore(MOST_AT_ONCE)
    tasks = [asyncio.create_task(_run(actor, text, analysis, model, gate)) for analysis in analyses]
    try:
        for ready in asyncio.as_completed(tasks):
            yield await ready
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(actor: Actor, text: str, analysis: Analysis, model: str, gate: asyncio.Semaphore) -> Analysed:
    async with gate:
        begun = time.perf_counter()
        finding: Finding | None = None
        error: AppError | None = None
        try:
            finding = await _SERVICES[analysis](
                actor=actor, source=text, model=model, endpoint=ENDPOINT, without_model=not model
            )
        except AppError as refusal:
            error = refusal
        except Exception:
            logger.exception("analysis_failed", analysis=analysis.value, model=model)
            error = make_defect()
        return Analysed(analysis, finding, error, int((time.perf_counter() - begun) * 1000))
