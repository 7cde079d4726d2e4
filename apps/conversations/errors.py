"""Failures of the conversations house."""

from apps.core.errors import (
    AppError,
    Conflict,
    DependencyDown,
    InvalidInput,
    NotAuthenticated,
    PermissionRefused,
    RateLimited,
    TooLarge,
    Unprocessable,
)


class AnswerRunning(Conflict):
    code, title = "conversations.answer_running", "An answer is still running here"


class NotAnswerable(Unprocessable):
    code, title = "conversations.not_answerable", "There is nothing to answer here"


class NothingToSummarize(Unprocessable):
    code, title = "conversations.nothing_to_summarize", "There is nothing to summarize here"


class ModelMissing(InvalidInput):
    code, title = "conversations.model_missing", "No model was named"


class TextInvalid(InvalidInput):
    code, title = "conversations.text_invalid", "The text cannot be stored"


class TextTooLong(TooLarge):
    code, title = "conversations.text_too_long", "The text is too long"


class PersonNeeded(PermissionRefused):
    code, title = "conversations.person_needed", "Conversations belong to people"


class AccessWithdrawn(NotAuthenticated):
    code, title = "conversations.access_withdrawn", "The key, session or membership behind this call has ended"


class ResumeExpired(AppError):
    code, status, title = "conversations.resume_expired", 410, "The stream can no longer be resumed at this place"


class AnswerTooLong(AppError):
    code, status, title = "conversations.answer_too_long", 502, "The answer grew longer than can be kept"


class AnswerNotStored(DependencyDown):
    code, title = "conversations.answer_not_stored", "The answer could not be stored"


class AnswerBroken(AppError):
    code, status, title = "conversations.answer_broken", 500, "The answer failed on our side"


class SocketBusy(RateLimited):
    code, title = "conversations.socket_busy", "Too many answers stream over this connection"
