"""The lines of the usage journal, and the usage records they add up to.

`f` forwarded (again, with the new route, when a call falls over), `p` progress, `d` done. Ids are hexadecimal, times are
microseconds since 1970, `a` names the call. A record is made of the first `f`, the latest route and the `d`; without
a `d`, of what the call had come to: an estimated one, `interrupted`. Team (`tm`), tags (`tg`), leases of budgets (`bl`), service tier (`sv`) and
tokens cached for an hour (`c1`) stand in a line only where there are any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from apps.billing.choices import ServiceTier
from apps.billing.services.pricing import PriceCard, cost_micros
from apps.billing.services.recording import UsageEntry
from apps.core.money import DEFAULT_CURRENCY
from apps.gateway.choices import CallStatus

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class OpenCall:
    """A call of which the last line has not been read yet."""

    forwarded: dict[str, Any]
    progress: dict[str, Any] | None = None
    attempts: int = 1


class LineReader:
    """Turns journal bytes, in order, into usage records. Holds no more than the calls that are still open."""

    def __init__(self) -> None:
        self.open: dict[str, OpenCall] = {}
        self.unreadable = 0

    def feed(self, data: bytes) -> Iterator[UsageEntry]:
        """Yield the records that whole lines complete. Lines torn by a full disk are counted and skipped."""
        for line in data.split(b"\n"):
            if not line:
                continue
            try:
                fields = orjson.loads(line)
                entry = self._take(fields)
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
                self.unreadable += 1
                continue
            if entry is not None:
                yield entry

    def give_up(self) -> Iterator[UsageEntry]:
        """Yield a record for every call that will not end any more."""
        for call in self.open.values():
            try:
                entry = _interrupted_entry(call)
            except (KeyError, TypeError, ValueError):
                self.unreadable += 1
            else:
                yield entry
        self.open.clear()

    def _take(self, fields: dict[str, Any]) -> UsageEntry | None:
        kind, name = fields["k"], fields["a"]
        if kind == "f":
            known = self.open.get(name)
            if known is None:
                self.open[name] = OpenCall(fields)
            else:
                known.forwarded = fields
                known.attempts += 1
        elif kind == "p":
            if name in self.open:
                self.open[name].progress = fields
        elif kind == "d" and name in self.open:
            entry = _entry(self.open[name].forwarded, fields)
            del self.open[name]
            return entry
        return None


def _entry(forwarded: dict[str, Any], done: dict[str, Any]) -> UsageEntry:
    return UsageEntry(
        request_id=UUID(hex=forwarded["a"]),
        created_at=EPOCH + timedelta(microseconds=forwarded["at"]),
        organization_id=UUID(hex=forwarded["org"]),
        user_id=_uuid(forwarded["usr"]),
        api_key_id=_uuid(forwarded["key"]),
        model=forwarded["m"],
        provider=forwarded["p"],
        upstream_model=forwarded["um"],
        endpoint=forwarded["ep"],
        prompt_tokens=done["pt"],
        completion_tokens=done["ct"],
        cached_tokens=done["ca"],
        cache_write_tokens=done["cw"],
        reasoning_tokens=done["rt"],
        cost_micros=done["c"],
        currency=DEFAULT_CURRENCY,
        status=done["s"],
        is_estimated=done["e"],
        is_stream=forwarded["st"],
        http_status=done["hs"],
        error_code=done["ec"],
        latency_ms=done["ms"],
        first_token_ms=done["ft"],
        attempts=done["n"],
        upstream_request_id=done["ui"],
        end_user=forwarded["eu"],
        team_id=_uuid(forwarded.get("tm", "")),
        tags=tuple(forwarded.get("tg", ())),
        lease_ids=tuple(forwarded.get("bl", ())),
        service_tier=done.get("sv", ServiceTier.STANDARD.value),
        cache_write_1h_tokens=done.get("c1", 0),
    )


def _interrupted_entry(call: OpenCall) -> UsageEntry:
    """Return what a call whose process died has come to, by its last lines."""
    forwarded, progress = call.forwarded, call.progress or {}
    prompt, completion = forwarded["pt"], progress.get("ct", 0)
    cost = cost_micros(PriceCard(*forwarded["pr"]), prompt_tokens=prompt, completion_tokens=completion)
    done = {
        "pt": prompt,
        "ct": completion,
        "ca": 0,
        "cw": 0,
        "rt": 0,
        "c": cost,
        "s": CallStatus.INTERRUPTED.value,
        "e": True,
        "hs": 0,
        "ec": "gateway.interrupted",
        "ms": progress.get("ms", 0),
        "ft": progress.get("ft"),
        "n": call.attempts,
        "ui": "",
    }
    return _entry(forwarded, done)


def _uuid(text: str) -> UUID | None:
    return UUID(hex=text) if text else None
