"""One call, from the moment it is let in to its usage record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, cast
from uuid import UUID

from apps.core.errors import AppError, NotAuthenticated, PermissionRefused
from apps.core.ids import encode_id
from apps.gateway.choices import CallStatus
from apps.gateway.errors import AccessWithdrawn, CallCancelled, ContentBlocked
from apps.gateway.providers.base import (
    CAPABILITY_EMBEDDINGS,
    Chunk,
    Completion,
    NativeOnly,
    NativeProvider,
    UpstreamBroken,
    UpstreamError,
    Usage,
)
from apps.gateway.providers.registry import get_provider
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.lease_book import Reservation
from apps.gateway.runtime.limiter import Admission
from apps.gateway.runtime.loading import UNREACHABLE
from apps.gateway.selectors import Caller, confirm_caller
from apps.gateway.services.caching import CacheLookup, keep_answer
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.guarding import Screen
from apps.gateway.services.meter import Meter
from apps.gateway.services.routing import Plan, Way
from apps.gateway.services.spending import learn_prompt


class _Aborted(Exception):
    """The call was ended from another task."""


class RunningCall:
    """A call under way. However it ends, its journal gets exactly one last line.

    One task reads it, by `batches` or `result`; `cancel` and `abort` may come from any task of the same loop. `status`,
    `usage` and `cost_micros` hold after the end. `on_tick`, where set, is called a few times a second with the loop's time.
    """

    __slots__ = (
        "__weakref__",
        "_abort_error",
        "_answer",
        "_ended",
        "_failure",
        "_first_batch",
        "_has_aborted",
        "_has_let_go",
        "_reader",
        "_request",
        "_stream",
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
        "native",
        "native_dialect",
        "native_headers",
        "native_only",
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
        native: dict[str, Any] | None = None,
        native_dialect: str = "",
        native_headers: Mapping[str, str] | None = None,
        native_only: str = "",
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
        self.native = native
        """The body as the client sent it, for a provider that speaks `native_dialect` itself; None to always translate."""
        self.native_dialect = native_dialect
        self.native_headers = native_headers or {}
        """What goes with the native body: the client's own headers of that dialect."""
        self.native_only = native_only
        """Why no other provider can have this call; "" when any can."""
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
        self._request = request
        self._answer: Completion | None = None
        self._stream: AsyncGenerator[list[Chunk], None] | None = None
        self._first_batch: list[Chunk] | None = None
        self._reader: asyncio.Task[Any] | None = None
        self._has_aborted = False
        self._has_let_go = False
        self._abort_error: AppError | None = None
        self._ended: asyncio.Event | None = None
        self._failure: UpstreamError | None = None

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
                batch = await self._next_batch()
            rest = screen.flush() if screen is not None else None
            self._settle(CallStatus.OK, is_final=True)
            self._keep()
            await self.runtime.journal.wait_until_synced()
            if rest:
                yield rest
        except _Aborted:
            self._settle_aborted()
            if self._abort_error is not None:
                raise self._abort_error from None
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
            await self._close_stream()

    async def cancel(self) -> None:
        """Stop the provider and write down what came. Does nothing to a call that has ended."""
        if self.meter.status is not None:
            return
        self.abort(None)
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._ended = self._ended or asyncio.Event()
            await self._ended.wait()
        else:
            self._settle_aborted()
            await self._close_stream()

    def release(self) -> None:
        """Give back what was taken for a call that was let in and then never made. Does nothing to any other."""
        if self.meter.attempts == 0:
            self._let_go(tokens=0, cost_micros=0)

    def abort(self, error: AppError | None) -> None:
        """Make the reading end: with `error`, or as cancelled. What is being waited for is given up at once."""
        if self.meter.status is not None or self._has_aborted:
            return
        self._has_aborted = True
        self._abort_error = error
        if self._reader is not None:
            self._reader.cancel()

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
                way = await self._find_way()
                begun = time.perf_counter()
                try:
                    await self._try(way)
                except UpstreamError as error:
                    plan.failed(error)
                else:
                    plan.answered(time.perf_counter() - begun)
                    return
        except _Aborted:
            self._settle_aborted()
            raise self._abort_error or CallCancelled() from None
        except asyncio.CancelledError:
            self._settle(CallStatus.CANCELLED)
            raise
        except Exception as error:
            # No provider answers; or a full disk, or a defect of ours: what was forwarded is closed, and counted as far as
            # it is known.
            self._settle(CallStatus.ERROR, error=error if isinstance(error, AppError) else AppError())
            raise

    async def _find_way(self) -> Way:
        """Return where the call goes now; to find out may take a while, which `abort` ends."""
        if self._has_aborted:
            raise _Aborted
        self._reader = asyncio.current_task()
        try:
            return await self.plan.next()
        except asyncio.CancelledError:
            self._turn_cancellation()
            raise
        finally:
            self._reader = None

    async def _try(self, way: Way) -> None:
        route = way.route
        target = route.target
        provider = get_provider(target.kind)
        if self.native_only and not self._speaks_natively(provider):
            raise NativeOnly(self.native_only) if self._failure is None else NativeOnly.after(self._failure)
        self.meter.forward(route, model=way.entry.info.name)
        self.provider, self.upstream_model = target.provider, target.upstream_model
        arguments: dict[str, Any] = {
            "session": self.runtime.session_for(route),
            "target": target,
            "request": self._request,
            "request_id": self.public_id,
        }
        begun = time.perf_counter()
        self._reader = asyncio.current_task()
        try:
            if self._has_aborted:
                raise _Aborted
            if self._speaks_natively(provider):
                await self._try_natively(cast("NativeProvider", provider), arguments)
            elif self.is_stream:
                self._stream = cast("AsyncGenerator[list[Chunk], None]", provider.stream(**arguments))
                self._first_batch = await anext(self._stream)
            elif self.kind == CAPABILITY_EMBEDDINGS:
                self._take_completion(await provider.embed(**arguments))
            else:
                self._take_completion(await provider.complete(**arguments))
        except asyncio.CancelledError:
            self._turn_cancellation()
            raise
        except StopAsyncIteration:
            raise UpstreamBroken(f"Provider {target.provider!r} ended its answer before it began.") from None
        except UpstreamError as error:
            self._failure = error
            raise
        finally:
            self._reader = None
            self.upstream_seconds += time.perf_counter() - begun

    def _speaks_natively(self, provider: object) -> bool:
        return (
            self.native is not None
            and isinstance(provider, NativeProvider)
            and self.native_dialect in provider.native_dialects
        )

    async def _try_natively(self, provider: NativeProvider, arguments: dict[str, Any]) -> None:
        del arguments["request"]
        arguments["body"] = self.native
        arguments["headers"] = self.native_headers
        if self.is_stream:
            self._stream = cast("AsyncGenerator[list[Chunk], None]", provider.stream_native(**arguments))
            self._first_batch = await anext(self._stream)
        else:
            self._take_completion(await provider.complete_native(**arguments))

    async def _next_batch(self) -> list[Chunk] | None:
        if self._has_aborted:
            raise _Aborted
        assert self._stream is not None
        self._reader = asyncio.current_task()
        try:
            return await anext(self._stream)
        except StopAsyncIteration:
            return None
        except asyncio.CancelledError:
            self._turn_cancellation()
            raise
        finally:
            self._reader = None

    def _turn_cancellation(self) -> None:
        """Raise _Aborted when `abort` was the cause of the cancellation being handled; the cancellation is then undone."""
        if self._has_aborted and self._reader is not None:
            self._reader.uncancel()
            raise _Aborted from None

    def _take_completion(self, completion: Completion) -> None:
        self.meter.completion = completion
        self.meter.usage = completion.usage

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

    def _settle_aborted(self) -> None:
        self._settle(CallStatus.CANCELLED, error=self._abort_error)

    def _settle(self, status: CallStatus, *, error: AppError | None = None, is_final: bool = False) -> None:
        if self.meter.status is not None:
            return
        try:
            self.meter.settle(status, error=error, is_final=is_final)
        finally:
            self.runtime.watched.discard(self)
            usage = self.meter.usage or Usage()
            self._let_go(
                tokens=usage.prompt_tokens + usage.completion_tokens, cost_micros=self.meter.cost_micros or 0
            )
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

    async def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()
