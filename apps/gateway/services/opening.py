"""Open a call: may this caller, is there such a model, is there room in the limits?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from apps.core.actor import Actor
from apps.core.errors import PermissionRefused
from apps.core.ids import uuid7
from apps.gateway.choices import Capability
from apps.gateway.dialects.anthropic.request import fit_request
from apps.gateway.errors import ModelUnknown, ModelUnsuited, ParameterMissing
from apps.gateway.providers.anthropic_origin import ORIGIN
from apps.gateway.providers.base import CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS
from apps.gateway.runtime import Runtime, get_runtime
from apps.gateway.selectors import Caller, ModelEntry
from apps.gateway.services.calls import RunningCall
from apps.gateway.services.facts import gather_facts


async def open_chat(
    *, actor: Actor, request: dict[str, Any], endpoint: str, request_id: UUID | None = None
) -> RunningCall:
    """Begin a chat completion for an actor; with `"stream": true` its first events have arrived when this returns.

    `request` is an OpenAI chat-completions object; `endpoint` names the entrance in the usage record. The call has to
    be read to its end (`batches`, `result`) or cancelled. Raise AppError subclasses on refusal, and UpstreamError when
    no provider could answer; both before anything was answered.
    """
    runtime = get_runtime()
    caller = await runtime.callers.of_actor(actor)
    call = await prepare_call(
        runtime=runtime, caller=caller, request=request, kind=CAPABILITY_CHAT, endpoint=endpoint, request_id=request_id
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
) -> RunningCall:
    """Authorise a call and count it against the limits; nothing is forwarded before `start` or `result`.

    `tags` were given beside the request; `native` and what follows are about the body as the client sent it, see
    RunningCall. The call has to be read to its end, cancelled, or released.
    """
    snapshot = runtime.catalogue.snapshot or await runtime.catalogue.ready()
    name = request.get("model")
    if not isinstance(name, str) or not name:
        raise ParameterMissing("Name a model in `model`.", param="model")
    entry = find_model(snapshot.models.get(name), name, caller)
    if kind not in entry.info.capabilities:
        raise ModelUnsuited(f"Model {name!r} cannot be used for {kind}.", param="model")
    if caller.actor.organization_id is None:
        raise PermissionRefused("Calls are made on account of an organization, and the caller belongs to none.")
    if ORIGIN in request:
        fit_request(
            request,
            max_output_tokens=entry.info.max_output_tokens,
            can_reason=Capability.REASONING in entry.info.capabilities,
        )
    facts = gather_facts(request, model=name, tags=tags)
    admission = None
    if caller.is_limited:
        admission = await runtime.limiter.admit(
            caller, prompt_tokens=facts.prompt_tokens, answer_tokens=facts.answer_tokens or 0
        )
    return RunningCall(
        runtime=runtime,
        caller=caller,
        entry=entry,
        request=request,
        kind=kind,
        endpoint=endpoint,
        request_id=request_id or uuid7(),
        facts=facts,
        admission=admission,
        native=native,
        native_dialect=native_dialect,
        native_headers=native_headers,
        native_only=native_only,
    )


def find_model(entry: ModelEntry | None, name: str, caller: Caller) -> ModelEntry:
    """Return the model if the caller may use it. Raise ModelUnknown: what is forbidden looks like what is not there."""
    if entry is None or not caller.may_use(name):
        raise ModelUnknown(f"Model {name[:200]!r} does not exist, or this key may not use it.", param="model")
    return entry
