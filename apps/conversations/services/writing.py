"""Write what running answers say: all runs of the process together, every 50 ms, before anybody sees it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog

from apps.conversations.errors import AnswerNotStored, AnswerTooLong
from apps.conversations.runtime.database import UNREACHABLE, in_database
from apps.conversations.runtime.desk import Desk, LocalRun
from apps.conversations.runtime.wire import GROWN, announce
from apps.conversations.services.deltas import Delta, append_deltas

logger = structlog.get_logger(__name__)

BATCH_SECONDS = 0.05
FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 1.0
# Characters of one answer: in all, and waiting for a database that does not answer.
MAX_ANSWER = 4_000_000
MAX_PENDING = 1_000_000


def write(desk: Desk, run: LocalRun, text: str) -> None:
    """Take a piece of an answer; it is stored with the next batch. Raise AnswerTooLong or AnswerNotStored."""
    run.size += len(text)
    run.pending_size += len(text)
    if run.size > MAX_ANSWER:
        raise AnswerTooLong(f"Answers are kept up to {MAX_ANSWER} characters.")
    if run.pending_size > MAX_PENDING:
        raise AnswerNotStored("The database was away for too long while the answer came.")
    run.pending.append(text)
    run.stored.clear()
    desk.unwritten[run.id] = run
    desk.ensure("writer", lambda: _write_all(desk))


async def _write_all(desk: Desk) -> None:
    clock = asyncio.get_running_loop().time
    while desk.unwritten:
        started = clock()
        runs, desk.unwritten = desk.unwritten, {}
        deltas = {run.id: _take(run) for run in runs.values()}
        held = await _append(desk, list(deltas.values()))
        for run in runs.values():
            _settle(run, deltas[run.id], is_held=run.id in held)
        desk.ring(runs)
        announce(desk, GROWN, set(runs))
        await asyncio.sleep(max(0.0, started + BATCH_SECONDS - clock()))


def _take(run: LocalRun) -> Delta:
    text = "".join(run.pending)
    run.pending.clear()
    run.last_seq += 1
    return Delta(run.id, run.last_seq, text, datetime.now(UTC))


def _settle(run: LocalRun, delta: Delta, *, is_held: bool) -> None:
    run.pending_size -= len(delta.text)
    if is_held:
        run.deltas.append((delta.seq, delta.text))
    else:
        run.is_lost = True
        run.cancelled.set()
    if not run.pending:
        run.stored.set()


async def _append(desk: Desk, deltas: list[Delta]) -> set[object]:
    """Store a batch, however long the database is away."""
    pause = FIRST_RETRY_SECONDS
    while True:
        try:
            return set(await in_database(append_deltas, owner_id=desk.process_id, deltas=deltas))
        except UNREACHABLE as error:
            logger.warning("deltas_wait_for_database", runs=len(deltas), error=str(error)[:200])
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_RETRY_SECONDS)
