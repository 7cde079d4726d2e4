"""Open a call: may this caller, is there such a model, is there room in the limits?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.conf import settings

from apps.core.actor import Actor
from apps.core.errors import PermissionRefused
from apps.core.ids import uuid7
from apps.gateway.choices import Capability
from apps.gateway.dialects.anthropic.request import fit_request
from apps.gateway.errors import ParameterMissing
from apps.gateway.providers.anthropic_origin import ORIGIN
from apps.gateway.providers.base import CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS
from apps.gateway.runtime import Runtime, get_runtime
from apps.gateway.selectors import Caller
from apps.gateway.services.caching import CacheControl, find_cached, read_vector
from apps.gateway.services.calls import RunningCall
from apps.gateway.services.facts import bound_answer, gather_facts
from apps.gateway.services.forwarding import NativeRequest
from apps.gateway.services.guarding import screen_input
from apps.gateway.services.routing import Plan, choose_model, take_wishes
from apps.gateway.services.spending import reserve_cost


async def open_chat(
    *,
    actor: Actor,
    request: dict[str, Any],
    endpoint: str,
    request_id: UUID | None = None,
    cache_control: CacheControl | None = None,
) -> RunningCall:
    """Begin a chat completion for an actor; with `"stream": true` its first events have arrived when this returns.

    `request` is an OpenAI chat-completions object; `endpoint` names the entrance in the usage record; `cache_control` is
    what the actor wants of the cache. The call has to be read to its end (`batches`, `result`) or cancelled. Raise AppError subclasses on refusal, and UpstreamError when
    no provider could answer; both before anything was answered.
    """
    runtime = get_runtime()
    caller = await runtime.callers.of_actor(actor)
    call = await prepare_call(
        runtime=runtime,
        caller=caller,
        request=request,
        kind=CAPABILITY_CHAT,
        endpoint=endpoint,
        request_id=request_id,
        cache_control=cache_control,
    )
    if call.is_stream:
        await call.start()
    return call


async def open_embedding(
    *, actor: Actor, request: dict[str, Any], endpoint: str, request_id: UUID | None = None
) -> RunningCall:
    """Begin an embeddings call for an actor; `result` gives the answer. Raises what `open_chat` raises."""
    runtime = get_runtime()
    caller = await runtime.callers.of_actor(actor)
    return await prepare_call(
        runtime=runtime,
        caller=caller,
        request=request,
        kind=CAPABILITY_EMBEDDINGS,
        endpoint=endpoint,
        request_id=request_id,
    )


async def prepare_call(
    *,
    runtime: Runtime,
    caller: Caller,
    request: dict[str, Any],
    kind: str,
    endpoint: str,
    request_id: UUID | None = None,
    tags: tuple[str, ...] = (),
    native: dict[str, Any] | None = None,
    native_dialect: str = "",
    native_headers: Mapping[str, str] | None = None,
    native_only: str = "",
    disables_fallbacks: bool = False,
    cache_control: CacheControl | None = None,
) -> RunningCall:
    """Authorise a call and count it against the limits; nothing is forwarded before `start` or `result`.

    `tags` were given beside the request; `native` and what follows are about the body as the client sent it, see
    NativeRequest; `disables_fallbacks` and `cache_control` are what the client wants of routing and the cache. The call has
    to be read to its end, cancelled, or released.
    """
    snapshot = runtime.catalogue.snapshot or await runtime.catalogue.ready()
    name = request.get("model")
    if not isinstance(name, str) or not name:
        raise ParameterMissing("Name a model in `model`.", param="model")
    wishes = take_wishes(request, native, disables_fallbacks=disables_fallbacks)
    facts = gather_facts(request, model=name, tags=tags)
    choice = choose_model(snapshot, caller, request, facts=facts, kind=kind, wishes=wishes)
    entry = choice.entry
    if caller.actor.organization_id is None:
        raise PermissionRefused("Calls are made on account of an organization, and the caller belongs to none.")
    if ORIGIN in request:
        fit_request(
            request,
            max_output_tokens=entry.info.max_output_tokens,
            can_reason=Capability.REASONING in entry.info.capabilities,
        )
        facts = replace(facts, answer_tokens=bound_answer(request))
    request_id = request_id or uuid7()
    screen = await screen_input(caller=caller, request=request, facts=facts, runtime=runtime, request_id=request_id)
    if screen is not None:
        request = screen.request
        if screen.has_changed or screen.filters_answers:
            native = None
    cache = None
    if (caller.terms.cache is not None or cache_control is not None) and not native_only:
        cache = await find_cached(
            runtime=runtime,
            caller=caller,
            entry=entry,
            request=request,
            kind=kind,
            guard=screen.fingerprint if screen is not None else "",
            embed=_Embedder(runtime, caller),
            control=cache_control,
        )
        if cache.route is not None:
            choice.use_only(cache.route)
        if cache.is_canonical:
            native = None
    admission = None
    if caller.terms.limits:
        admission = await runtime.limiter.admit(caller.terms.limits, facts, model=entry.info.name)
    reservation = None
    if caller.terms.budgets or settings.GATEWAY_UNPRICED_MODELS == "deny":
        try:
            reservation = await reserve_cost(runtime=runtime, choice=choice, facts=facts, request=request)
        except BaseException:
            if admission is not None:
                runtime.limiter.settle(admission, tokens=0)
            raise
    is_stream = bool(request.get("stream")) and kind != CAPABILITY_EMBEDDINGS
    return RunningCall(
        runtime=runtime,
        caller=caller,
        plan=Plan(choice, sharing=runtime.sharing, name=request_id.hex, is_stream=is_stream),
        permitted_by=choice.permitted_by,
        request=request,
        kind=kind,
        endpoint=endpoint,
        request_id=request_id,
        facts=facts,
        admission=admission,
        reservation=reservation,
        native=NativeRequest(native, native_dialect, native_headers or {}, native_only),
        cache=cache,
        screen=screen,
    )


class _Embedder:
    """Turns questions into vectors for the cache: embeddings calls on the caller's account, which are metered as such.

    The model is the policy's, so that it need not be among those that the key may use.
    """

    def __init__(self, runtime: Runtime, caller: Caller) -> None:
        self._runtime = runtime
        self._caller = caller

    async def __call__(self, model: str, text: str) -> list[float]:
        """Return the vector. Raise AppError when there is none to be had."""
        terms = replace(self._caller.terms, guard=None, cache=None)
        call = await prepare_call(
            runtime=self._runtime,
            caller=replace(self._caller, allowed_models=None, terms=terms),
            request={"model": model, "input": text, "encoding_format": "float"},
            kind=CAPABILITY_EMBEDDINGS,
            endpoint="cache.embedding",
        )
        try:
            completion = await call.result()
        finally:
            call.release()
        return read_vector(completion)
