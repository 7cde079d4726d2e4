"""One request on its way to a provider: in OpenAI's form, or in the client's own where the provider speaks it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from apps.gateway.providers.base import (
    CAPABILITY_EMBEDDINGS,
    Chunk,
    Completion,
    NativeOnly,
    NativeProvider,
    Provider,
    UpstreamBroken,
    UpstreamError,
)
from apps.gateway.providers.registry import get_provider
from apps.gateway.runtime import Runtime
from apps.gateway.selectors import Route

Stream = AsyncGenerator[list[Chunk], None]


@dataclass(frozen=True, slots=True)
class NativeRequest:
    """The request as the client sent it, for a provider that speaks its dialect itself.

    `body` None means that it has to be translated all the same; `headers` are the client's own of that dialect. `only` says
    why no other provider can have this call, "" when any can.
    """

    body: dict[str, Any] | None = None
    dialect: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    only: str = ""

    def is_spoken_by(self, provider: object) -> bool:
        """Tell whether the provider can have the body as it is."""
        return (
            self.body is not None and isinstance(provider, NativeProvider) and self.dialect in provider.native_dialects
        )


class Forwarder:
    """Asks one provider after the other for the same answer."""

    __slots__ = ("_failure", "_is_stream", "_kind", "_native", "_request", "_request_id", "_runtime", "stream")

    def __init__(
        self,
        *,
        runtime: Runtime,
        request: dict[str, Any],
        request_id: str,
        kind: str,
        is_stream: bool,
        native: NativeRequest,
    ) -> None:
        self._runtime = runtime
        self._request = request
        self._request_id = request_id
        self._kind = kind
        self._is_stream = is_stream
        self._native = native
        self._failure: UpstreamError | None = None
        self.stream: Stream | None = None
        """The streamed answer that is being read."""

    def check(self, route: Route) -> Provider:
        """Return the adapter for a route. Raise NativeOnly when it has no words for what the request says."""
        provider = get_provider(route.target.kind)
        if self._native.only and not self._native.is_spoken_by(provider):
            raise NativeOnly(self._native.only) if self._failure is None else NativeOnly.after(self._failure)
        return provider

    async def ask(self, provider: Provider, route: Route) -> Completion | list[Chunk]:
        """Return the whole answer, or the first events of a streamed one. Raise UpstreamError."""
        arguments: dict[str, Any] = {
            "session": self._runtime.session_for(route),
            "target": route.target,
            "request_id": self._request_id,
        }
        is_native = self._native.is_spoken_by(provider)
        if is_native:
            arguments |= {"body": self._native.body, "headers": self._native.headers}
        else:
            arguments["request"] = self._request
        try:
            if self._is_stream:
                stream = cast("NativeProvider", provider).stream_native if is_native else provider.stream
                self.stream = cast("Stream", stream(**arguments))
                return await anext(self.stream)
            if is_native:
                return await cast("NativeProvider", provider).complete_native(**arguments)
            if self._kind == CAPABILITY_EMBEDDINGS:
                return await provider.embed(**arguments)
            return await provider.complete(**arguments)
        except StopAsyncIteration:
            raise UpstreamBroken(f"Provider {route.target.provider!r} ended its answer before it began.") from None
        except UpstreamError as error:
            self._failure = error
            raise

    async def next_events(self) -> list[Chunk] | None:
        """Return the next events of the stream; None after the last."""
        assert self.stream is not None
        return await anext(self.stream, None)

    async def close(self) -> None:
        """Stop the provider, if it still writes."""
        stream, self.stream = self.stream, None
        if stream is not None:
            await stream.aclose()
