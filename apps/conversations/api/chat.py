"""/api/v3/chat: send and have it answered, waiting or streaming; resume, cancel, regenerate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.conversations.api import examples
from apps.conversations.api.asynchronous import AsyncView
from apps.conversations.api.conversations import IDEMPOTENCY_KEY, READ, WRITE
from apps.conversations.api.serializers import (
    CancelOutput,
    ChatInput,
    ChatOutput,
    RegenerateInput,
    RegenerateOutput,
)
from apps.conversations.api.streaming import stream_run
from apps.conversations.choices import RunStatus
from apps.conversations.forms import chat_in_body, id_in_path
from apps.conversations.models import Conversation, Message, Run
from apps.conversations.runtime.database import in_database
from apps.conversations.selectors.presenting import describe_start
from apps.conversations.selectors.runs import find_run
from apps.conversations.services.answering import begin_answer, cancel_answer
from apps.conversations.services.following import ONLY_THE_END, RunEvent, RunFollower
from apps.conversations.services.runs import Again, Chat, Repeat, repeat_of
from apps.core.errors import AppError, InvalidInput, describe_codes

Handler = TypeVar("Handler", bound=Callable[..., Any])

WAIT_SECONDS = 3600.0
CANCEL_SECONDS = 5.0
EVENT_STREAM = "text/event-stream"
WITH_TITLE = OpenApiParameter(
    "with_title",
    bool,
    description=(
        "After `run.completed`, keep the stream open while a model names the conversation (a minute at the most): the "
        "new title comes as `conversation.updated`."
    ),
)
STREAMED = OpenApiResponse(
    OpenApiTypes.STR,
    description=(
        "Events, numbered from 1: `run.started`, `delta`…, and one of `run.completed`, `run.failed`, `run.cancelled`, "
        "`run.interrupted`. Unnumbered: `conversation.updated`, `error`. Comments keep the connection open."
    ),
)


def keyed(method: Handler) -> Handler:
    """Mark a handler that honours Idempotency-Key: its run remembers the key, so it needs no `@idempotent`."""
    method.is_idempotent = True  # type: ignore[attr-defined]
    return method


def read_repeat(request: Request, asked: Chat | Again) -> Repeat:
    """Return what makes the request safe to repeat."""
    return repeat_of(request.headers.get("Idempotency-Key", ""), asked)


def read_chat(request: Request) -> tuple[Chat, Repeat]:
    """Return what a chat's body asks for. Raise InvalidInput."""
    checked = ChatInput(data=request.data)
    checked.is_valid(raise_exception=True)
    chat = chat_in_body(checked.validated_data)
    return chat, read_repeat(request, chat)


async def wait_for_end(view: AsyncView, run: Run, *, timeout_seconds: float) -> RunEvent | None:
    """Return the last event of a run; None when it does not come in time. Raise AccessWithdrawn."""
    async with RunFollower(run, after=ONLY_THE_END, credential=view.credential) as follower:
        events = await follower.read(timeout_seconds=timeout_seconds)
    return events[-1] if events else None


def terms_of(view: AsyncView) -> dict[str, Any]:
    """Return for whom a run is streamed and whether the title that it leads to is waited for."""
    with_title = view.request.query_params.get("with_title") == "true"
    return {"credential": view.credential, "request_id": view.actor.request_id, "with_title": with_title}


class ChatView(AsyncView):
    """Send and wait."""

    scopes: ClassVar[dict[str, str]] = {"POST": WRITE}

    @extend_schema(
        summary="Send a message and wait for the answer",
        description=(
            "Leaving stops nothing: the answer goes on and can be read later. An answer that was refused before its "
            "first word is a problem with `conversation`, `message` and `answer` beside it."
        ),
        operation_id="chat",
        request=ChatInput,
        responses=ChatOutput,
        parameters=[IDEMPOTENCY_KEY],
        examples=[
            examples.sent(examples.CHAT),
            examples.answered(
                {"conversation": examples.CONVERSATION, "message": examples.QUESTION, "answer": examples.ANSWER}
            ),
        ],
    )
    @keyed
    async def post(self, request: Request) -> HttpResponseBase:
        asked, repeat = read_chat(request)
        run = await begin_answer(actor=self.actor, asked=asked, repeat=repeat)
        end = await wait_for_end(self, run, timeout_seconds=WAIT_SECONDS)
        ended = await in_database(find_run, actor=self.actor, run_id=run.id)
        opening = await in_database(describe_start, ended, is_replay=False)
        answer = end.data["answer"] if end is not None else opening["answer"]
        found = {"conversation": opening["conversation"], "message": opening["message"], "answer": answer}
        if ended.status == RunStatus.FAILED and ended.error_status and not answer["content"]:
            raise _failure_of(ended, answer["error"], ended.error_status, found)
        return Response(found)


def _failure_of(run: Run, error: dict[str, str], status: int, found: dict[str, Any]) -> AppError:
    """Return the failure that ended a run as it would have been answered at once."""
    known = describe_codes().get(error["code"], AppError)
    return AppError(
        error["message"],
        code=error["code"],
        status=status,
        title=known.title,
        retry_after_seconds=run.retry_after_seconds,
        extra=found,
    )


class ChatStreamView(AsyncView):
    """Send and stream."""

    scopes: ClassVar[dict[str, str]] = {"POST": WRITE}

    @extend_schema(
        summary="Send a message and stream the answer",
        operation_id="chat_stream",
        request=ChatInput,
        responses={(200, EVENT_STREAM): STREAMED},
        parameters=[IDEMPOTENCY_KEY, WITH_TITLE],
        examples=[examples.sent(examples.CHAT), examples.answered(examples.STREAM, media_type=EVENT_STREAM)],
    )
    @keyed
    async def post(self, request: Request) -> HttpResponseBase:
        asked, repeat = read_chat(request)
        run = await begin_answer(actor=self.actor, asked=asked, repeat=repeat)
        return stream_run(run, after=0, **terms_of(self))


class RunStreamView(AsyncView):
    """Resume."""

    scopes: ClassVar[dict[str, str]] = {"GET": READ}

    @extend_schema(
        summary="Stream a running or finished answer from any place on",
        description="`Last-Event-ID` (or `?after=`) is the number of the last event seen; without it from the start.",
        operation_id="chat_resume",
        responses={(200, EVENT_STREAM): STREAMED},
        parameters=[
            OpenApiParameter("after", int, description="Number of the last event seen."),
            OpenApiParameter("Last-Event-ID", int, OpenApiParameter.HEADER),
            WITH_TITLE,
        ],
        examples=[examples.answered(examples.STREAM, media_type=EVENT_STREAM)],
    )
    async def get(self, request: Request, run_id: str) -> HttpResponseBase:
        text = request.query_params.get("after") or request.headers.get("Last-Event-ID") or "0"
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InvalidInput("after: the number of an event.", errors={"after": ["The number of an event."]})
        run = await in_database(find_run, actor=self.actor, run_id=id_in_path(Run, run_id))
        return stream_run(run, after=int(text), **terms_of(self))


class RunCancelView(AsyncView):
    """Stop."""

    scopes: ClassVar[dict[str, str]] = {"POST": WRITE}

    @extend_schema(
        summary="Stop a running answer and keep what came",
        description="An answer that is over stays as it is, so repeating this is harmless.",
        operation_id="chat_cancel",
        request=None,
        responses=CancelOutput,
        examples=[examples.answered({"message": {**examples.ANSWER, "content": "Fresnel, ", "status": "cancelled"}})],
    )
    async def post(self, request: Request, run_id: str) -> HttpResponseBase:
        run = await cancel_answer(actor=self.actor, run_id=id_in_path(Run, run_id))
        end = await wait_for_end(self, run, timeout_seconds=CANCEL_SECONDS)
        if end is not None:
            return Response({"message": end.data["answer"]})
        run = await in_database(find_run, actor=self.actor, run_id=run.id)
        return Response({"message": (await in_database(describe_start, run, is_replay=False))["answer"]})


class RegenerateView(AsyncView):
    """Answer again."""

    scopes: ClassVar[dict[str, str]] = {"POST": WRITE}

    @extend_schema(
        summary="Answer a message again, beside the old answer",
        operation_id="messages_regenerate",
        request=RegenerateInput,
        responses={202: RegenerateOutput},
        parameters=[IDEMPOTENCY_KEY],
        examples=[
            examples.sent({"model": "sandbox-small"}),
            examples.answered(
                {
                    "run_id": examples.RUNNING["run_id"],
                    "conversation": examples.CONVERSATION,
                    "message": examples.RUNNING,
                },
                202,
            ),
        ],
    )
    @keyed
    async def post(self, request: Request, cid: str, mid: str) -> HttpResponseBase:
        checked = RegenerateInput(data=request.data)
        checked.is_valid(raise_exception=True)
        asked = Again(
            conversation_id=id_in_path(Conversation, cid),
            message_id=id_in_path(Message, mid),
            model=checked.validated_data.get("model", ""),
        )
        run = await begin_answer(actor=self.actor, asked=asked, repeat=read_repeat(request, asked))
        opening = await in_database(describe_start, run, is_replay=True)
        found = {"run_id": run.public_id, "conversation": opening["conversation"], "message": opening["answer"]}
        return Response(found, status=202)
