"""Tell every process that somebody's rights or terms changed, so that caches let go at once."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import orjson
import structlog
from django.db import transaction
from redis.exceptions import RedisError

from apps.core.redis import get_redis

logger = structlog.get_logger(__name__)

CHANNEL = "portico:identity"
Kind = Literal["api_key", "user", "team", "organization", "platform"]
PLATFORM_ID = UUID(int=0)
"""Named by a change that concerns every caller (kind `platform`)."""


def announce_identity_change(*, kind: Kind, id: UUID) -> None:
    """Publish `{"kind", "id"}` on `portico:identity` once the transaction has committed.

    Best effort: who caches an identity also forgets it after a short while, so a Redis that does not answer delays a
    revocation by that long and refuses nothing.
    """
    message = orjson.dumps({"kind": kind, "id": str(id)})
    transaction.on_commit(lambda: _send(message))


def _send(message: bytes) -> None:
    try:
        get_redis().publish(CHANNEL, message)
    except RedisError as error:
        logger.warning("identity_change_unannounced", error=str(error)[:300])
