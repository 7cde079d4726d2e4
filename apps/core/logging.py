"""Structured logs: one line an event, with the request id and the actor, secrets masked.

Masking is the last processor, so nothing that a caller logs by mistake gets out: keys, tokens, passwords and
authorization headers are replaced wherever they stand.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

import structlog

from apps.core.context import current_actor, current_request_id

MASK = "***"
SECRET_NAMES = re.compile(
    r"(?i)^(.*[_-])?(password|passwd|secret|token|api[_-]?key|authorization|cookie|credential|private[_-]?key|session[_-]?key)s?$"
)
SECRET_VALUES = re.compile(
    r"pk_(?:live|test)_[0-9A-Za-z]{8,}"
    r"|whsec_[0-9A-Za-z+/=]{16,}"
    r"|sk-[0-9A-Za-z_-]{16,}"
    r"|(?i:bearer)\s+[0-9A-Za-z._~+/=-]{8,}"
    r"|eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]*"
    r"|prt_[0-9A-Za-z_-]{8,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
    # In a query string the name is all that tells: the operator's own key and OAuth2 tokens have no form.
    r"|(?<=[?&]access_token=)[^&\s\"']+"
    r"|(?<=[?&]token=)[^&\s\"']+"
    r"|(?<=[?&]code=)[^&\s\"']+"
)


def mask(value: Any, *, depth: int = 0) -> Any:
    """Return the value with everything that looks like a secret replaced by `***`."""
    if isinstance(value, str):
        return SECRET_VALUES.sub(MASK, value)
    if depth < 6 and isinstance(value, dict):
        return {
            key: MASK if item and SECRET_NAMES.match(str(key)) else mask(item, depth=depth + 1)
            for key, item in value.items()
        }
    if depth < 6 and isinstance(value, list | tuple):
        return [mask(item, depth=depth + 1) for item in value]
    return value


def _add_context(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if request_id := current_request_id():
        event.setdefault("request_id", request_id)
    actor = current_actor()
    if actor.organization_id:
        event.setdefault("organization_id", str(actor.organization_id))
    if actor.user_id:
        event.setdefault("user_id", str(actor.user_id))
    return event


def _mask_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = MASK if value and isinstance(value, str) and SECRET_NAMES.match(key) else mask(value)
    return event


SHARED_PROCESSORS: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _add_context,
    _mask_event,
]


def build_logging(*, form: str, level: str) -> dict[str, Any]:
    """Configure structlog and return Django's LOGGING dictionary; `form` is `console` or `json`."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*SHARED_PROCESSORS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": SHARED_PROCESSORS,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *([structlog.processors.EventRenamer("message")] if form == "json" else []),
                    renderer,
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            "uvicorn.access": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
            # Six lines an hour about how many old tokens were deleted, mostly none.
            "oauth2_provider.models": {"level": "WARNING"},
        },
    }
