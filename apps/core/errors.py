"""The one hierarchy of expected failures.

Every house subclasses these in its `errors.py` and gives each failure a stable `code` (`house.reason`). `/api/v3` answers
them as RFC 9457 problem details, `/v1` in the OpenAI or Anthropic shape. Anything else that is raised is a defect and
reaches the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class AppError(Exception):
    """An expected failure with a name, an HTTP status and a sentence for the person who caused it.

    `errors` maps field names to lists of sentences; `retry_after_seconds` becomes the Retry-After header; `headers` are
    added to the answer.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something failed"

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        status: int | None = None,
        title: str | None = None,
        errors: Mapping[str, list[str]] | None = None,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.message = message or self.title
        super().__init__(self.message)
        if code is not None:
            self.code = code  # type: ignore[misc]
        if status is not None:
            self.status = status  # type: ignore[misc]
        if title is not None:
            self.title = title  # type: ignore[misc]
        self.errors = dict(errors or {})
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


class InvalidInput(AppError):
    code, status, title = "invalid_input", 400, "The request is not valid"


class ExpressionInvalid(InvalidInput):
    """A condition in CEL that cannot be used; `line` and `column` (from 1) say where."""

    code, title = "expression_invalid", "The expression is not valid"

    def __init__(self, reason: str = "", *, line: int = 1, column: int = 1, **kwargs: Any) -> None:
        self.reason, self.line, self.column = reason, line, column
        message = f"Line {line}, column {column}: {reason}" if reason else ""
        super().__init__(message, extra={"line": line, "column": column}, **kwargs)


class NotAuthenticated(AppError):
    code, status, title = "not_authenticated", 401, "Authentication is needed"


class PermissionRefused(AppError):
    code, status, title = "permission_refused", 403, "This is not permitted"


class NotFound(AppError):
    """Also what a caller gets for what exists but is not theirs: the two cannot be told apart."""

    code, status, title = "not_found", 404, "There is no such thing"


class Conflict(AppError):
    code, status, title = "conflict", 409, "This conflicts with the present state"


class PreconditionFailed(AppError):
    code, status, title = "precondition_failed", 412, "It was changed in the meantime"


class BodyLate(AppError):
    code, status, title = "body_late", 408, "The body did not arrive in time"


class TooLarge(AppError):
    code, status, title = "too_large", 413, "The request is too large"


class Unprocessable(AppError):
    code, status, title = "unprocessable", 422, "The request cannot be carried out"


class RateLimited(AppError):
    code, status, title = "rate_limited", 429, "Too many requests"


class DependencyDown(AppError):
    """Something that Portico needs does not answer. Never shown as 401, never with a stack trace."""

    code, status, title = "dependency_down", 503, "A service that is needed does not answer"

    def __init__(self, message: str = "", *, retry_after_seconds: float = 2, **kwargs: Any) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds, **kwargs)


def describe_codes() -> dict[str, type[AppError]]:
    """Return every declared code with its class, for the documentation of errors."""
    found: dict[str, type[AppError]] = {}
    queue: list[type[AppError]] = [AppError]
    while queue:
        for child in queue.pop().__subclasses__():
            found.setdefault(child.code, child)
            queue.append(child)
    return dict(sorted(found.items()))
