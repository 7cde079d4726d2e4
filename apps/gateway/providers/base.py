"""What every provider adapter takes, gives and promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

from apps.core.errors import AppError
from apps.core.http import HttpSession

CAPABILITY_CHAT = "chat"
CAPABILITY_EMBEDDINGS = "embeddings"
CAPABILITY_MODELS = "models"

MAX_COUNT = 2**31 - 1
"""Most tokens of one kind that a provider is believed to have counted: what the database holds. Some servers send nonsense."""
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Target:
    """One deployment, resolved: where to send a call and under which name and credential."""

    provider: str
    """Slug of the provider as its owner named it; the only part of a target that error messages show."""
    kind: str
    """Name of the adapter: openai, anthropic, openrouter, ollama or sandbox."""
    base_url: str
    """Address without a trailing slash, in the form the provider's own SDK takes it."""
    credential: str = field(repr=False)
    """The provider's key; empty when it needs none."""
    upstream_model: str
    """The model's name at the provider."""
    connect_timeout_seconds: float = 5.0
    """Longest wait for name resolution, TCP and TLS together, and for a free slot of the connection pool."""
    read_timeout_seconds: float = 300.0
    """Longest silence between two reads, not the length of the whole answer."""
    extra_headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    """Further request headers, such as OpenAI-Organization."""


@dataclass(slots=True)
class Usage:
    """Tokens of one call, as the provider counted them.

    `prompt_tokens` is the whole prompt; `cached_tokens` and `cache_write_tokens` are the parts of it that were read
    from and written to a cache, `cache_write_1h_tokens` those of the latter that stay for an hour. `reasoning_tokens` are
    a part of `completion_tokens`. `service_tier` is `batch`, `flex` or `priority` where the provider said so, else "".
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    service_tier: str = ""

    def as_openai(self) -> dict[str, Any]:
        """Return the `usage` object of the OpenAI format."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {
                "cached_tokens": self.cached_tokens,
                "cache_write_tokens": self.cache_write_tokens,
            },
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }


@dataclass(slots=True)
class Completion:
    """An answer that came in one piece. Exactly one of `body` and `payload` is set."""

    body: bytes | None
    """The upstream's JSON, when it can be passed through unchanged."""
    payload: dict[str, Any] | None
    """The OpenAI-shaped object, when the adapter had to build or repair it."""
    usage: Usage | None
    """None when the provider gave none; the caller then counts."""
    finish_reason: str | None
    """Of the first choice; None for embeddings."""
    upstream_request_id: str | None
    is_native: bool = False
    """`body` is in the dialect of the request as the client sent it, not in OpenAI's."""


@dataclass(slots=True)
class Chunk:
    """One event of a stream, in the shape of an OpenAI `chat.completion.chunk`."""

    data: bytes
    """JSON without `data: ` and newlines. Empty for a usage signal that must not be forwarded."""
    text: str = ""
    """Content delta of the first choice."""
    other_text: str = ""
    """What else the model wrote with this event (reasoning, tool calls, refusals, other choices): only for counting."""
    usage: Usage | None = None
    """Cumulative usage so far, where the event carried it. Several chunks may carry one: the last one holds."""
    finish_reason: str | None = None
    """Of the first choice that finished with this event."""
    is_usage_chunk: bool = False
    """`choices` is empty and `usage` set: forwarded only to a client that asked for it. At most one in a stream."""
    is_native: bool = False
    """`data` holds whole server-sent events of the client's own dialect, to be passed on as they are."""


class UpstreamError(AppError):
    """A provider could not or would not answer; `status` is what the client is told.

    The message is safe to show: it never contains a credential, nor more than a part of the upstream's own words.
    """

    code, status, title = "gateway.upstream_error", 502, "The provider could not answer"
    is_retryable: bool = True
    """The same deployment may answer the same request if asked again."""
    may_fall_over: bool = True
    """Another deployment may answer the same request."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        upstream_status: int | None = None,
        retry_after_seconds: float | None = None,
        is_retryable: bool | None = None,
        param: str | None = None,
        upstream_code: str | None = None,
        upstream_type: str | None = None,
    ) -> None:
        super().__init__(message, code=code, status=status, param=param, retry_after_seconds=retry_after_seconds)
        self.upstream_status = upstream_status
        self.upstream_code = upstream_code
        self.upstream_type = upstream_type
        if is_retryable is not None:
            self.is_retryable = is_retryable


class UpstreamRateLimited(UpstreamError):
    """The provider asks us to slow down."""

    code, status, title = "gateway.upstream_rate_limited", 429, "The provider limits the rate of calls"


class UpstreamRejected(UpstreamError):
    """The provider finds the request itself wrong; `param`, `upstream_code` and the message are its own."""

    code, status, title = "gateway.upstream_rejected", 400, "The provider rejects the request"
    is_retryable = False
    may_fall_over = False


class NativeOnly(UpstreamRejected):
    """The request says something that has no words in the format of this provider; one of the client's format has them."""

    code, status, title = "gateway.native_only", 400, "This provider cannot be asked for that"
    may_fall_over = True

    @classmethod
    def after(cls, failure: UpstreamError) -> NativeOnly:
        """Return what to raise where the one provider that could be asked has failed: the caller is told of that failure."""
        return cls(
            failure.message,
            code=failure.code,
            status=failure.status,
            upstream_status=failure.upstream_status,
            retry_after_seconds=failure.retry_after_seconds,
            is_retryable=failure.is_retryable,
            param=failure.param,
            upstream_code=failure.upstream_code,
            upstream_type=failure.upstream_type,
        )


class UpstreamUnauthenticated(UpstreamError):
    """The provider refuses our credential or our account: our fault, never the client's, hence never 401."""

    code, status, title = (
        "gateway.upstream_unauthenticated",
        502,
        "The provider refuses the credential configured for it",
    )
    is_retryable = False


class UpstreamUnavailable(UpstreamError):
    """The provider cannot be reached or fails; nothing was answered."""

    code, status, title = "gateway.upstream_unavailable", 503, "The provider is unavailable"


class UpstreamTimedOut(UpstreamError):
    """The provider took longer than the target allows."""

    code, status, title = "gateway.upstream_timed_out", 504, "The provider timed out"


class UpstreamBroken(UpstreamError):
    """The provider's answer is malformed or was cut."""

    code, status, title = "gateway.upstream_broken", 502, "The provider's answer is broken"


@runtime_checkable
class Provider(Protocol):
    """A wire format. Implementations hold no state between calls, so that one instance serves a whole process.

    Every method raises `UpstreamError`, and nothing else, for whatever the upstream or the network does.
    """

    kind: ClassVar[str]
    capabilities: ClassVar[frozenset[str]]

    async def complete(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Answer a chat-completions request in one piece."""
        ...

    def stream(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> AsyncIterator[list[Chunk]]:
        """Yield the events of a streamed answer, one non-empty list per network read.

        An async generator; closing it stops the upstream at once. It ends normally only after a complete answer:
        a stream that is cut raises `UpstreamBroken`. The final `[DONE]` is the edge's to send. A request that cannot
        be translated is refused by the call itself, before there is anything to iterate over.
        """
        ...

    async def embed(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Answer an embeddings request."""
        ...

    async def list_models(self, *, session: HttpSession, target: Target) -> list[str]:
        """Return the names of the models the provider offers; also the health probe."""
        ...


@runtime_checkable
class NativeProvider(Protocol):
    """A provider that can also be asked in a dialect of callers, where body and events then pass through unchanged.

    `body` is the request as the client sent it, `target.upstream_model` the name to put into it; `headers` (names in lower
    case) are those of the client's that belong to it. Raises what `Provider` raises. Usage, text and finish reason are read on the way, as for any other answer.
    """

    native_dialects: ClassVar[frozenset[str]]
    """Names of dialects (see dialects/), such as `anthropic.messages`."""

    async def complete_native(
        self,
        *,
        session: HttpSession,
        target: Target,
        body: dict[str, Any],
        headers: Mapping[str, str],
        request_id: str,
    ) -> Completion:
        """Answer in one piece, with `is_native` set."""
        ...

    def stream_native(
        self,
        *,
        session: HttpSession,
        target: Target,
        body: dict[str, Any],
        headers: Mapping[str, str],
        request_id: str,
    ) -> AsyncIterator[list[Chunk]]:
        """Yield the events of a streamed answer, with `is_native` set."""
        ...
