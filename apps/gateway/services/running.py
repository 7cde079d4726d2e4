"""The calls that run now, in all processes: list them, stop one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from redis.exceptions import RedisError

from apps.core.actor import Actor
from apps.core.errors import DependencyDown
from apps.core.ids import decode_id
from apps.core.redis import get_redis
from apps.events.services import publish
from apps.gateway.events import CallStopRequested
from apps.gateway.runtime.presence import CALLS_CHANNEL, RUNNING_PREFIX
from apps.users.models import ApiKey, Organization, User


@dataclass(frozen=True, slots=True)
class RunningNow:
    """One running call. Tokens are of the answer so far, estimated; `first_token_ms` is None before the first."""

    id: str
    organization: str
    user: str
    key: str
    model: str
    provider: str
    endpoint: str
    is_stream: bool
    seconds: float
    first_token_ms: int | None
    tokens: int


def list_running_calls() -> tuple[list[RunningNow], int]:
    """Return the longest-running calls of every process, longest first, and how many run in all.

    The list is a second or two old. Three statements, whatever its length. Raise DependencyDown when Redis does not answer.
    """
    found: list[dict[str, Any]] = []
    count = 0
    try:
        redis = get_redis()
        names = list(redis.scan_iter(f"{RUNNING_PREFIX}*", count=1000))
        for told in redis.mget(names) if names else ():
            shown: dict[str, Any] = orjson.loads(told) if told else {"count": 0, "calls": []}
            count += shown["count"]
            found += shown["calls"]
    except (RedisError, OSError) as error:
        raise DependencyDown("Redis does not answer, and it alone knows what runs in all processes.") from error
    organizations = _names(Organization, {told["organization_id"] for told in found}, "name")
    users = _names(User, {told["user_id"] for told in found}, "email")
    keys = _names(ApiKey, {told["api_key_id"] for told in found}, "name")
    calls = [
        RunningNow(
            id=told["id"],
            organization=organizations.get(told["organization_id"], ""),
            user=users.get(told["user_id"], ""),
            key=keys.get(told["api_key_id"], ""),
            model=told["model"],
            provider=told["provider"],
            endpoint=told["endpoint"],
            is_stream=told["is_stream"],
            seconds=told["seconds"],
            first_token_ms=told["first_token_ms"],
            tokens=told["tokens"],
        )
        for told in found
    ]
    return sorted(calls, key=lambda call: -call.seconds), count


def stop_running_call(*, call_id: str, actor: Actor) -> None:
    """Have the process that runs a call end it; the caller is told so, what came is metered.

    Raise InvalidInput for what is no id of a request, DependencyDown when Redis does not answer.
    """
    request_id = decode_id("req", call_id)
    with transaction.atomic():
        publish(CallStopRequested(aggregate_id=request_id), actor=actor)
    try:
        get_redis().publish(CALLS_CHANNEL, orjson.dumps({"stop": call_id}))
    except (RedisError, OSError) as error:
        raise DependencyDown("Redis does not answer: the processes cannot be told.") from error


def _names(model: Any, ids: set[str], field: str) -> Mapping[str, str]:
    wanted = [UUID(value) for value in ids if value]
    if not wanted:
        return {}
    return {str(pk): name for pk, name in model.objects.filter(pk__in=wanted).values_list("pk", field)}
