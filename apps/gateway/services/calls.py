"""One call, from the moment it is let in to its usage record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

from apps.core.errors import AppError, NotAuthenticated, PermissionRefused
from apps.core.ids import encode_id
from apps.gateway.choices import CallStatus
from apps.gateway.errors import AccessWithdrawn, CallCancelled, ContentBlocked
from apps.gateway.providers.base import CAPABILITY_EMBEDDINGS, Chunk, Completion, UpstreamError, Usage
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.lease_book import Reservation
from apps.gateway.runtime.limiter import Admission
from apps.gateway.runtime.loading import UNREACHABLE
from apps.gateway.selectors import Caller, confirm_caller
from apps.gateway.services.caching import CacheLookup, keep_answer
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.forwarding import Forwarder, NativeRequest
from apps.gateway.services.guarding import Screen
from apps.gateway.services.interrupting import Interrupted, Interruption
from apps.gateway.services.meter import Meter
from apps.gateway.services.routing import Plan, Way
from apps.gateway.services.spending import learn_prompt


class RunningCall:
    """A call under way. However it ends, its journal gets exactly one last line.

    One task reads it, by `batches` or `result`; `cancel` and `abort` may come from any task of the same loop. `status`,
    `usage` and `cost_micros` hold after the end. `on_tick`, where set, is called a few times a second with the loop's time.
    """

    __slots__ = (
        "__weakref__",
        "_answer",
        "_ended",
        "_first_batch",
        "_forwarder",
        "_has_let_go",
        "_interruption",
        "admission",
        "cache",
        "caller",
        "created",
        "endpoint",
        "facts",
        "is_stream",
        "kind",
        "meter",
        "model",
        "on_tick",
        "permitted_by",
        "plan",
        "provider",
        "public_id",
        "request_id",
        "reservation",
        "runtime",
        "screen",
        "upstream_model",
        "upstream_seconds",
    )  # fmt: skip

    def __init__(
        self,
        *,
        runtime: Runtime,
        caller: Caller,
        plan: Plan,
        permitted_by: str,
        request: dict[str, Any],
        kind: str,
        endpoint: str,
        request_id: UUID,
        facts: CallFacts,
        admission: Admission | None,
        reservation: Reservation | None = None,
        native: NativeRequest,
        cache: CacheLookup | None = None,
        screen: Screen | None = None,
    ) -> None:
        self.runtime = runtime
        self.caller = caller
        self.plan = plan
        self.permitted_by = permitted_by
        """The name that the caller's list of models has to hold for this call."""
        self.kind = kind
        self.endpoint = endpoint
        self.request_id = request_id
        self.public_id = encode_id("req", request_id)
        self.facts = facts
        self.admission = admission
        self.reservation = reservation
        self.cache = cache
        self.screen = screen
        self.model = facts.model
        self.provider = ""
        self.upstream_model = ""
        self.is_stream = bool(request.get("stream")) and kind != CAPABILITY_EMBEDDINGS
        self.created = int(time.time())
        self.upstream_seconds = 0.0
        self.on_tick: Callable[[float], None] | None = None
        self.meter = Meter(
            journal=runtime.journal,
            caller=caller,
            request=request,
            request_id=request_id,
            endpoint=endpoint,
            is_stream=self.is_stream,
            facts=facts,
            reservation=reservation,
        )
        self._forwarder = Forwarder(
            runtime=runtime,
            request=request,
            request_id=self.public_id,
            kind=kind,
            is_stream=self.is_stream,
            native=native,
        )
        self._interruption = Interruption()
        self._answer: Completion | None = None
        self._first_batch: list[Chunk] | None = None
        self._has_let_go = False
        self._ended: asyncio.Event | None = None

    @property
    def status(self) -> CallStatus | None:
        """Return how the call ended; None while it runs."""
        return self.meter.status

    @property
    def answering_model(self) -> str:
        """Return the name of the model that answers, or is being asked: another than `model` after a fallback or an alias."""
        return self.meter.model

    @property
    def is_settled(self) -> bool:
        """Tell whether the usage is written down."""
        return self.meter.status is not None

    @property
    def was_cancelled(self) -> bool:
        """Tell whether the call was ended before its answer did."""
        return self.meter.status is CallStatus.CANCELLED

    @property
    def usage(self) -> Usage | None:
        """Return the tokens used."""
        return self.meter.usage

    @property
    def cost_micros(self) -> int | None:
        """Return the cost in micro-USD; None before the end."""
        return self.meter.cost_micros

    @property
    def is_estimated(self) -> bool:
        """Tell whether the usage was counted by us, because the provider gave no final figures."""
        return self.meter.is_estimated

    @property
    def prompt_estimate(self) -> int:
        """Return the prompt's tokens, estimated before any provider counted them."""
        return self.facts.prompt_tokens

    def settled_usage(self) -> Usage:
        """Return what an ended call has used: the provider's figures, or ours."""
        return self.meter.settled_usage()

    async def start(self) -> None:
        """Forward a streamed call and wait for its first events. Raise UpstreamError when no provider answers."""
        await self._forward()

    async def result(self) -> Completion:
        """Forward the call and return the whole answer, its usage written down. Raise UpstreamError or ContentBlocked."""
        if self._answer is None:
            await self._forward()
            self._answer = await self._screened()
            self._settle(CallStatus.OK, is_final=True)
            self._keep()
            await self.runtime.journal.wait_until_synced()
        return self._answer

    async def batches(self) -> AsyncIterator[list[Chunk]]:
        """Yield the events of each network read.

        The usage is written down before the last of them is yielded where the provider marks it, else before this
        ends. Ends early, without an error, when the call was cancelled; raise UpstreamError when the provider fails, and
        ContentBlocked when a guardrail ends the answer: what was produced is counted.
        """
        screen = self.screen
        batch, self._first_batch = self._first_batch, None
        meter = self.meter
        try:
            while batch is not None:
                meter.take(batch)
                if self.cache is not None:
                    self.cache.take(batch)
                is_last = batch[-1].is_usage_chunk
                if screen is not None:
                    batch = screen.filter(batch)
                if is_last:
                    self._settle(CallStatus.OK, is_final=True)
                    await self.runtime.journal.wait_until_synced()
                if batch:
                    yield batch
                batch = await self._interruption.wait(self._forwarder.next_events)
            rest = screen.flush() if screen is not None else None
            self._settle(CallStatus.OK, is_final=True)
            self._keep()
            await self.runtime.journal.wait_until_synced()
            if rest:
                yield rest
        except Interrupted:
            self._settle_interrupted()
            if self._interruption.error is not None:
                raise self._interruption.error from None
        except UpstreamError as error:
            self.plan.blame(error)
            self._settle(CallStatus.ERROR, error=error)
            raise
        except ContentBlocked as error:
            self._settle(CallStatus.ERROR, error=error)
            raise
        finally:
            # Without a status by now, the reader left: by closing this, by its cancellation or an error of its own.
            self._settle(CallStatus.CANCELLED)
            await self._forwarder.close()

    async def cancel(self) -> None:
        """Stop the provider and write down what came. Does nothing to a call that has ended."""
        if self.meter.status is not None:
            return
        self.abort(None)
        if self._interruption.hits_another:
            self._ended = self._ended or asyncio.Event()
            await self._ended.wait()
        else:
            self._settle_interrupted()
            await self._forwarder.close()

    def release(self) -> None:
        """Give back what was taken for a call that was let in and then never made. Does nothing to any other."""
        if self.meter.attempts == 0:
            self._let_go(tokens=0, cost_micros=0)

    def abort(self, error: AppError | None) -> None:
        """Make the reading end: with `error`, or as cancelled. What is being waited for is given up at once."""
        if self.meter.status is None:
            self._interruption.come(error)

    def tick(self, now: float) -> None:
        """Let the entrance do what is due."""
        if self.on_tick is not None:
            self.on_tick(now)

    def concerns(self, changed_id: str) -> bool:
        """Tell whether a change is about this call's caller."""
        return changed_id in self.caller.ids()

    def describe(self) -> dict[str, Any]:
        """Return what staff may see of a running call: ids, names and figures, no text."""
        actor = self.caller.actor
        return {
            "id": self.public_id,
            "organization_id": str(actor.organization_id or ""),
            "user_id": str(actor.user_id or ""),
            "api_key_id": str(actor.api_key_id or ""),
            "model": self.model,
            "provider": self.provider,
            "endpoint": self.endpoint,
            "is_stream": self.is_stream,
            "seconds": round(self.meter.seconds, 1),
            "first_token_ms": self.meter.first_token_ms,
            "tokens": self.meter.tokens_so_far,
        }

    async def recheck(self) -> None:
        """End the call when its caller may not make it any more."""
        try:
            await self.runtime.loader.load(lambda: confirm_caller(self.caller, model=self.permitted_by))
        except (NotAuthenticated, PermissionRefused) as error:
            self.abort(AccessWithdrawn(error.message))
        except UNREACHABLE:
            pass  # nobody can say; the next change or reconnection asks again

    async def _forward(self) -> None:
        plan = self.plan
        self.runtime.watched.add(self)
        try:
            while True:
                # To find out where the call goes may take a while: a place has to become free, a pause to end.
                way = await self._interruption.wait(plan.next)
                begun = time.perf_counter()
                try:
                    await self._try(way)
                except UpstreamError as error:
                    plan.failed(error)
                else:
                    plan.answered(time.perf_counter() - begun)
                    return
        except Interrupted:
            self._settle_interrupted()
            raise self._interruption.error or CallCancelled() from None
        except asyncio.CancelledError:
            self._settle(CallStatus.CANCELLED)
            raise
        except Exception as error:
            # No provider answers; or a full disk, or a defect of ours: what was forwarded is closed, and counted as far as
            # it is known.
            self._settle(CallStatus.ERROR, error=error if isinstance(error, AppError) else AppError())
            raise

    async def _try(self, way: Way) -> None:
        route, forwarder = way.route, self._forwarder
        provider = forwarder.check(route)
        self.meter.forward(route, model=way.entry.info.name)
        self.provider, self.upstream_model = route.target.provider, route.target.upstream_model
        begun = time.perf_counter()
        try:
            answer = await self._interruption.wait(lambda: forwarder.ask(provider, route))
        finally:
            self.upstream_seconds += time.perf_counter() - begun
        if isinstance(answer, Completion):
            self.meter.completion = answer
            self.meter.usage = answer.usage
        else:
            self._first_batch = answer

    async def _screened(self) -> Completion:
        """Return the answer as the guardrails let it through. Raise ContentBlocked; the call is then settled."""
        completion = self.meter.completion
        assert completion is not None
        if self.screen is None or self.kind == CAPABILITY_EMBEDDINGS:
            return completion
        try:
            return await self.screen.filter_completion(completion)
        except ContentBlocked as error:
            self._settle(CallStatus.ERROR, error=error, is_final=True)
            raise
        except asyncio.CancelledError:
            self._settle(CallStatus.CANCELLED, is_final=True)
            raise

    def _keep(self) -> None:
        """Let the cache count the call, and keep its answer for the next who asks."""
        route = self.meter.route
        if self.cache is not None and route is not None:
            keep_answer(
                self.cache,
                runtime=self.runtime,
                route=route,
                completion=self.meter.completion,
                usage=self.settled_usage(),
                cost_micros=self.cost_micros or 0,
            )

    def _settle_interrupted(self) -> None:
        self._settle(CallStatus.CANCELLED, error=self._interruption.error)

    def _settle(self, status: CallStatus, *, error: AppError | None = None, is_final: bool = False) -> None:
        if self.meter.status is not None:
            return
        try:
            self.meter.settle(status, error=error, is_final=is_final)
        finally:
            self.runtime.watched.discard(self)
            usage = self.meter.usage or Usage()
            self._let_go(tokens=usage.prompt_tokens + usage.completion_tokens, cost_micros=self.meter.cost_micros or 0)
            if self._ended is not None:
                self._ended.set()

    def _let_go(self, *, tokens: int, cost_micros: int) -> None:
        """Replace what was reserved by what was used, exactly once."""
        if self._has_let_go:
            return
        self._has_let_go = True
        self.plan.release()
        if self.screen is not None:
            self.screen.note()
        if self.admission is not None:
            self.runtime.limiter.settle(self.admission, tokens=tokens)
        if self.reservation is not None:
            self.runtime.budgets.settle(self.reservation, cost_micros)
            learn_prompt(self.meter)
