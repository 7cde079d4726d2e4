"""Failures of the event store and of idempotent requests."""

from apps.core.errors import Conflict, InvalidInput, Unprocessable


class StaleAggregate(Conflict):
    code, title = "events.stale_aggregate", "The aggregate was changed in the meantime"


class IdempotencyKeyInvalid(InvalidInput):
    code, title = "events.idempotency_key_invalid", "The Idempotency-Key is not valid"


class RequestRunning(Conflict):
    code, title = "events.request_running", "A request with this Idempotency-Key is still running"


class IdempotencyKeyReused(Unprocessable):
    code, title = "events.idempotency_key_reused", "This Idempotency-Key was used with another request"
