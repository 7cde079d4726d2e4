"""Answer: one task per run, detached from whoever asked. It calls the gateway and stores what comes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from apps.conversations.choices import RunStatus
from apps.conversations.errors import AnswerBroken, AnswerNotStored
from apps.conversations.models import Run
from apps.conversations.runtime.database import UNREACHABLE, in_database
from apps.conversations.runtime.desk import Desk, LocalRun, current_desk
from apps.conversations.runtime.wire import CANCEL, GROWN, announce
from apps.conversations.services.keeping import ensure_kept
from apps.conversations.services.leases import interrupt_forgotten_runs
from apps.conversations.services.runs import (
    Again,
    Chat,
    Ending,
    Repeat,
    finish_run,
    mark_running,
    request_cancel,
    start_run,
)
from apps.conversations.services.texts import clean_delta
from apps.conversations.services.titling import begin_title
from apps.conversations.services.writing import LONGEST_RETRY_SECONDS, write
from apps.core.actor import Actor
from apps.core.context import bound
from apps.core.errors import AppError
from apps.core.ids import encode_id, uuid7
from apps.gateway.choices import CallStatus
from apps.gateway.services import RunningCall, open_chat

logger = structlog.get_logger(__name__)

ENDPOINT = "conversations"
STOP_SECONDS = 5.0
# A client is not left waiting longer than this for an end that cannot be stored.
PATIENCE_SECONDS = 30.0
END_NAMES = {
    RunStatus.COMPLETE: "run.completed",
    RunStatus.CANCELLED: "run.cancelled",
    RunStatus.INTERRUPTED: "run.interrupted",
    RunStatus.FAILED: "run.failed",
}


def describe_end(status: str, described: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return name and content of the last event of a run's stream."""
    content: dict[str, Any] = {"answer": described}
    if status == RunStatus.FAILED:
        content["error"] = described["error"]
    return END_NAMES[RunStatus(status)], content


async def begin_answer(*, actor: Actor, asked: Chat | Again, repeat: Repeat) -> Run:
    """Store what was asked and begin to answer it; return the run. Raises what `start_run` raises.

    A caller that leaves in the middle stops nothing. With a known idempotency key it is the earlier run.
    """
    desk = current_desk()
    return await asyncio.shield(desk.spawn(_begin(desk, actor, asked, repeat)))


async def _begin(desk: Desk, actor: Actor, asked: Chat | Again, repeat: Repeat) -> Run:
    run_id = uuid7()
    desk.reserved.add(run_id)
    try:
        with bound(actor=actor):
            await ensure_kept(desk)
            started = await in_database(
                start_run, actor=actor, run_id=run_id, owner_id=desk.process_id, asked=asked, repeat=repeat
            )
        if started.is_new:
            run = desk.runs[run_id] = LocalRun(
                run_id=run_id,
                actor=actor,
                request_id=started.run.request_id,
                request={"model": started.run.model, "messages": started.messages, "stream": True},
                opening=started.opening,
            )
            desk.spawn(_answer(desk, run))
        return started.run
    finally:
        desk.reserved.discard(run_id)


async def cancel_answer(*, actor: Actor, run_id: Any) -> Run:
    """Ask the process that answers to stop, wherever it is; return the run as it was. Raise NotFound."""
    desk = current_desk()
    run = await in_database(request_cancel, actor=actor, run_id=run_id)
    if run.is_active and not desk.cancel(run.id):
        announce(desk, CANCEL, {run.id})
    return run


async def leave_desk() -> None:
    """End what this process answers, with what came, because the process ends."""
    await current_desk().close()


async def _answer(desk: Desk, run: LocalRun) -> None:
    with bound(actor=run.actor):
        try:
            ending = await _produce(desk, run)
            if not run.is_lost:
                await _store_end(desk, run, ending)
        except asyncio.CancelledError:
            # The process ends: what is stored is what came.
            with suppress(*UNREACHABLE):
                await in_database(interrupt_forgotten_runs, process_id=desk.process_id)
            raise
        except Exception:
            # The keeper finds the run forgotten and marks it interrupted.
            logger.exception("answer_lost", run=encode_id(Run.ID_PREFIX, run.id))
            run.is_lost = True
        finally:
            desk.runs.pop(run.id, None)
            desk.ring([run.id])
            announce(desk, GROWN, {run.id})


class _Pump:
    """Carries the gateway's text into the run."""

    def __init__(self, desk: Desk, run: LocalRun) -> None:
        self.desk = desk
        self.run = run
        self.call: RunningCall | None = None

    async def flow(self) -> None:
        run = self.run
        self.call = call = await open_chat(
            actor=run.actor, request=run.request, endpoint=ENDPOINT, request_id=run.request_id
        )
        self.desk.spawn(_note_running(self.desk, run))
        try:
            async for batch in call.batches():
                text = clean_delta("".join(chunk.text for chunk in batch))
                if text:
                    write(self.desk, run, text)
        finally:
            await call.cancel()

    async def stop(self, flow: asyncio.Task[None]) -> None:
        """Stop the upstream; what it had sent by then is kept."""
        if self.call is not None:
            await self.call.cancel()
        else:
            flow.cancel()
        await asyncio.wait({flow}, timeout=STOP_SECONDS)
        flow.cancel()


async def _note_running(desk: Desk, run: LocalRun) -> None:
    with suppress(*UNREACHABLE):
        await in_database(mark_running, run_id=run.id, owner_id=desk.process_id)


async def _produce(desk: Desk, run: LocalRun) -> Ending:
    """Let the answer flow to its end, or until somebody cancels it; return how it ended."""
    pump = _Pump(desk, run)
    flow = asyncio.create_task(pump.flow())
    stopped = asyncio.create_task(run.cancelled.wait())
    try:
        await asyncio.wait({flow, stopped}, return_when=asyncio.FIRST_COMPLETED)
        was_stopped = not flow.done()
        if was_stopped:
            await pump.stop(flow)
        results = await asyncio.gather(flow, return_exceptions=True)
    finally:
        stopped.cancel()
        flow.cancel()
        await asyncio.gather(flow, stopped, return_exceptions=True)
    status, error = _judge(run, pump.call, None if was_stopped else results[0])
    usage = pump.call.usage if pump.call is not None else None
    return Ending(
        status=status,
        content="",
        last_seq=0,
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        cost_micros=pump.call.cost_micros if pump.call is not None else None,
        error=error,
    )


def _judge(run: LocalRun, call: RunningCall | None, failure: BaseException | None) -> tuple[RunStatus, AppError | None]:
    if run.cancelled.is_set():
        return RunStatus.CANCELLED, None
    if failure is None:
        # A call that somebody else stopped ends early and without an error.
        was_cut = call is not None and call.status == CallStatus.CANCELLED
        return (RunStatus.INTERRUPTED if was_cut else RunStatus.COMPLETE), None
    if isinstance(failure, AppError):
        return RunStatus.FAILED, failure
    logger.error("answer_broken", run=encode_id(Run.ID_PREFIX, run.id), exc_info=failure)
    return RunStatus.FAILED, AnswerBroken("Something failed on our side; regenerate the answer to try again.")


async def _store_end(desk: Desk, run: LocalRun, ending: Ending) -> None:
    """Store the end once everything before it is stored, however long the database is away."""
    impatience = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, _give_up_waiting, desk, run)
    try:
        await run.stored.wait()
        if run.is_lost:
            return
        ending = replace(ending, content=run.text, last_seq=run.last_seq + 1)
        described = await _finish(desk, run, ending)
    finally:
        impatience.cancel()
    if described is None:
        run.is_lost = True
        return
    run.last_seq = ending.last_seq
    name, content = describe_end(ending.status, described)
    run.end = (ending.last_seq, name, content)
    if ending.status == RunStatus.COMPLETE:
        begin_title(desk, run)


async def _finish(desk: Desk, run: LocalRun, ending: Ending) -> dict[str, Any] | None:
    while True:
        try:
            return await in_database(
                finish_run, actor=run.actor, run_id=run.id, owner_id=desk.process_id, ending=ending
            )
        except UNREACHABLE as error:
            logger.warning("end_waits_for_database", run=encode_id(Run.ID_PREFIX, run.id), error=str(error)[:200])
        await asyncio.sleep(LONGEST_RETRY_SECONDS)


def _give_up_waiting(desk: Desk, run: LocalRun) -> None:
    """Tell those who listen here that the end could not be stored; storing it goes on being tried."""
    error = {"code": AnswerNotStored.code, "message": "The answer could not be stored; look again shortly."}
    answer = {**run.opening["answer"], "content": run.text, "status": "failed", "error": error}
    run.end = (run.last_seq + 1, "run.failed", {"answer": answer, "error": error})
    desk.ring([run.id])
