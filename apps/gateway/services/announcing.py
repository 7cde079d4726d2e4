"""Tell every process that what can be called has changed."""

from __future__ import annotations

import structlog
from django.db import transaction
from redis.exceptions import RedisError

from apps.core.redis import get_redis
from apps.gateway.runtime.listener import CATALOGUE_CHANNEL

logger = structlog.get_logger(__name__)


def announce_catalogue_change() -> None:
    """Let every process read the catalogue again once this transaction has committed.

    Best effort: they read it every few seconds anyway.
    """
    transaction.on_commit(_send)


def _send() -> None:
    try:
        get_redis().publish(CATALOGUE_CHANNEL, b"changed")
    except RedisError as error:
        logger.warning("catalogue_change_unannounced", error=str(error)[:200])
