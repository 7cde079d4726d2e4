"""`@idempotent`: makes a view's POST safe to repeat."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.renderers import JSONRenderer
from apps.events.services.idempotency import Answer, fingerprint_of, run_once

HEADER = "Idempotency-Key"


def idempotent(method: Callable[..., Response]) -> Callable[..., Any]:
    """Honour Idempotency-Key on a view method whose effects are all in the database.

    Without the header the method simply runs. With it: one effect, the same bytes for 24 h (marked
    `Idempotency-Replayed: true`), 409 while the first runs, 422 for another body under the same key.
    """

    @wraps(method)
    def answer_once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
        key = request.headers.get(HEADER, "")
        if not key:
            return method(view, request, *args, **kwargs)

        def effect() -> Answer:
            response = method(view, request, *args, **kwargs)
            body = JSONRenderer().render(response.data).decode()
            # An unrendered answer carries Django's default content type; ours is JSON in any case.
            headers = {name: str(value) for name, value in response.headers.items() if name != "Content-Type"}
            return Answer(response.status_code, body, headers)

        raw = request._request
        answer = run_once(
            actor=view.actor,
            key=key,
            fingerprint=fingerprint_of(method=raw.method or "", path=raw.get_full_path(), body=raw.body),
            effect=effect,
        )
        headers = {**answer.headers, "Idempotency-Replayed": "true"} if answer.is_replay else answer.headers
        return HttpResponse(
            answer.body.encode(), status=answer.status, content_type="application/json", headers=headers
        )

    answer_once.is_idempotent = True  # type: ignore[attr-defined]
    return answer_once
