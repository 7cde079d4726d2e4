"""Words of the audit house, and what the row-change triggers leave out."""

from __future__ import annotations

import re

from django.db import models


class Operation(models.TextChoices):
    """What happened to a row."""

    CREATED = "created", "Created"
    UPDATED = "updated", "Updated"
    DELETED = "deleted", "Deleted"
    TRUNCATED = "truncated", "Table emptied"


class Source(models.TextChoices):
    """Where an entry of the trail comes from."""

    CHANGE = "change", "Row change"
    EVENT = "event", "Domain event"


MASK = "***"

# Tables whose rows are not followed one by one, each with its reason. Every other table of every app is.
EXEMPT: dict[str, str] = {
    "audit_change": "it is the log of changes",
    "auth_permission": "written by migrations only, from the code",
    "billing_adjustment": "append-only: every row is its own record",
    "billing_budget_alert": "one row per alert, which is an event as well",
    "billing_budget_holder": "heartbeats of processes, renewed every few seconds",
    "billing_budget_lease": "quota of processes, moved by every call",
    "billing_budget_period": "its amounts move with every call and are proved by budget_check",
    "billing_ledger_account": "its balance moves with every call and is proved by the postings; a trigger keeps the rest",
    "billing_ledger_transaction": "append-only: every row is its own record",
    "billing_posting": "append-only: every row is its own record",
    "billing_reconciliationline": "written once with its reconciliation, which is followed",
    "billing_usage_hour": "sums of usage records, proved by ledger_check",
    "billing_usage_record": "append-only: every row is its own record",
    "conversations_answeringprocess": "leases of processes, renewed every few seconds",
    "conversations_rundelta": "pieces of a running answer; the message that they become is followed",
    "django_admin_log": "the admin's own list of what the trail tells with before and after",
    "django_celery_beat_periodictasks": "one row that beat touches to say that schedules changed",
    "django_content_type": "written by migrations only, from the code",
    "django_session": "opaque, rewritten by requests; sign-ins and sign-outs are rows of users_usersession",
    "events_aggregate": "version counters, moved by every event",
    "events_delivery": "a queue: rows live until their subscriber has taken them",
    "gateway_health_check": "append-only: every probe is its own record",
    "gateway_health_state": "written by probes every minute; what changes is an event",
    "events_event": "append-only, and read by the trail itself",
    "events_idempotentrequest": "answers kept for 24 hours; what the requests changed is followed",
    "gateway_cacheday": "statistics of the cache, added up every few seconds",
    "gateway_cachedanswer": "a cache: rows come and go with calls, and are gone after their time",
    "gateway_guard_hit": "append-only: every row is its own record, and told by an event",
    "gateway_respondingprocess": "leases of processes, renewed every few seconds",
    "gateway_response": "one row a call, told by its usage record; its deletion is an event",
    "gateway_response_event": "pieces of responses that are being written; they go with them",
    "integrations_webhookattempt": "a log of attempts, one row each",
    "integrations_webhookdelivery": "a queue with a state per row; its attempts are logged",
}

# Columns that tick without anybody doing anything: a change of these alone is not an entry.
TICKING_EVERYWHERE = frozenset({"updated_at"})
TICKING: dict[str, frozenset[str]] = {
    "billing_repricing": frozenset({"adjusted", "amount_micros", "records"}),
    "conversations_conversation": frozenset(
        {"last_message_at", "last_number", "message_count", "title_origin", "version"}
    ),
    "conversations_run": frozenset({"last_seq"}),
    "django_celery_beat_periodictask": frozenset({"date_changed", "last_run_at", "total_run_count"}),
    "integrations_webhookendpoint": frozenset(
        {"consecutive_failures", "first_failed_at", "last_error", "last_succeeded_at", "version"}
    ),
    "users_apikey": frozenset({"last_used_at"}),
    "users_user": frozenset({"last_login"}),
    "users_usersession": frozenset({"last_seen_at"}),
}

# Secrets by name, in any table: what opens something, what it is checked by, what it is signed with.
SECRET_NAME = re.compile(r"password|passwd|secret|credential|hash|checksum|signature|(^|_)(token|key|salt)$")

# Secrets that their name does not tell, and what people wrote: that text stays where it can be erased.
PRIVATE: dict[str, frozenset[str]] = {
    "conversations_conversation": frozenset({"title"}),
    "conversations_message": frozenset({"content"}),
    "conversations_summary": frozenset({"text"}),
    "conversations_messageversion": frozenset({"content"}),
    "oauth2_provider_devicegrant": frozenset({"device_code", "user_code"}),
    "oauth2_provider_grant": frozenset({"claims", "code", "code_challenge", "nonce"}),
}


def is_secret(table: str, column: str) -> bool:
    """Tell whether a column's values are masked in the log of changes."""
    return bool(SECRET_NAME.search(column)) or column in PRIVATE.get(table, frozenset())
