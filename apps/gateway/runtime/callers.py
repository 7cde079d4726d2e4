"""Who holds which key, remembered for a short while.

Fresh for 30 s (2 s while Redis cannot tell us of changes), dropped at once when `portico:identity` names one of its ids.
An older copy, up to an hour, serves only while the database does not answer. Unknown keys are remembered briefly, too.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import structlog

from apps.core.actor import Actor
from apps.core.errors import NotAuthenticated
from apps.gateway.errors import CallerUnreachable
from apps.gateway.runtime.loading import UNREACHABLE, Loader
from apps.gateway.selectors.callers import Caller, caller_of_actor, find_caller
from apps.users.choices import CredentialKind
from apps.users.errors import KeyUnknown
from apps.users.key_format import PREFIX, is_well_formed
from apps.users.services.announcing import PLATFORM_ID
from apps.users.services.api_keys import note_key_use

T = TypeVar("T")

logger = structlog.get_logger(__name__)

FRESH_SECONDS = 30.0
FRESH_UNHEARD_SECONDS = 2.0
STALE_SECONDS = 3600.0
UNKNOWN_SECONDS = 5.0
SHORTEST_SECRET = 20
LONGEST_SECRET = 4096
MAX_CALLERS = 20_000
EVERYBODY = str(PLATFORM_ID)


class CallerCache:
    """Callers by the hash of what they showed. One per event loop."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._loop = asyncio.get_running_loop()
        self._callers: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._unknown: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._loading: dict[bytes, asyncio.Task[Caller]] = {}
        self._generation = 0
        self._fresh_seconds = FRESH_UNHEARD_SECONDS

    def known(self, secret: str) -> Caller | None:
        """Return the caller without waiting, when a fresh copy is here."""
        found = self._callers.get(_digest(secret))
        if found is None or self._loop.time() - found[1] > self._fresh_seconds:
            return None
        self._check_expiry(found[0])
        return found[0]

    async def find(self, secret: str) -> Caller:
        """Return who holds a key or token.

        Raise NotAuthenticated for an unknown one, CallerUnreachable when only the database could tell.
        """
        known = self.known(secret)
        if known is not None:
            return known
        digest = _digest(secret)
        refused = self._unknown.get(digest)
        if refused is not None and self._loop.time() < refused[0]:
            raise KeyUnknown(refused[1])
        if not may_exist(secret):
            raise KeyUnknown("The API key is not of the right form. Copy it again, as a whole.")
        return await self._load(digest, lambda: _find(secret))

    async def of_actor(self, actor: Actor) -> Caller:
        """Return an actor of another entrance with its terms and the restrictions of its key."""
        who, where = actor.api_key_id or actor.user_id or PLATFORM_ID, actor.organization_id or PLATFORM_ID
        digest = who.bytes + where.bytes
        found = self._callers.get(digest)
        if found is not None and self._loop.time() - found[1] <= self._fresh_seconds:
            self._check_expiry(found[0])
            caller = found[0]
        else:
            caller = await self._load(digest, lambda: caller_of_actor(actor))
        # Its terms are what is remembered; the actor is the one of this very request.
        return caller if caller.actor == actor else replace(caller, actor=actor)

    def forget(self, changed_id: str) -> None:
        """Drop every caller that a changed key, user, team or organization concerns."""
        self._generation += 1
        self._unknown.clear()
        if changed_id == EVERYBODY:
            self._age()
        for digest in [digest for digest, (caller, _) in self._callers.items() if changed_id in caller.ids()]:
            del self._callers[digest]

    def trust(self, *, hears_changes: bool) -> None:
        """Say whether changes are heard of. What was learned before is checked again."""
        self._generation += 1
        self._fresh_seconds = FRESH_SECONDS if hears_changes else FRESH_UNHEARD_SECONDS
        self._unknown.clear()
        self._age()

    def _age(self) -> None:
        # Not dropped: while the database does not answer they serve on.
        for digest, (caller, _) in self._callers.items():
            self._callers[digest] = (caller, self._loop.time() - FRESH_SECONDS - 1)

    async def _load(self, digest: bytes, read: Callable[[], Caller]) -> Caller:
        # One read for all who ask at once; who leaves early takes nothing away from the others.
        task = self._loading.get(digest)
        if task is None:
            task = self._loop.create_task(self._load_anew(digest, read))
            self._loading[digest] = task
            task.add_done_callback(lambda done: self._loaded(digest, done))
        return await asyncio.shield(task)

    async def _load_anew(self, digest: bytes, read: Callable[[], Caller]) -> Caller:
        if self._loader.is_database_down and (stale := self._stale(digest)) is not None:
            return stale
        while True:
            generation = self._generation
            try:
                caller = await self._loader.load(read)
            except NotAuthenticated as error:
                self._callers.pop(digest, None)
                _put(self._unknown, digest, (self._loop.time() + UNKNOWN_SECONDS, error.message))
                raise
            except UNREACHABLE as error:
                stale = self._stale(digest)
                if stale is not None:
                    return stale
                logger.warning("caller_unreachable", error=f"{type(error).__name__}: {error}"[:200])
                raise CallerUnreachable(
                    "The key cannot be checked at the moment, because the database does not answer; try again shortly."
                ) from error
            # A change that was announced while we read may not be in what we read.
            if generation == self._generation:
                _put(self._callers, digest, (caller, self._loop.time()))
                return caller

    def _loaded(self, digest: bytes, task: asyncio.Task[Caller]) -> None:
        del self._loading[digest]
        if not task.cancelled():
            task.exception()  # when all who asked have left, nobody else looks at it

    def _stale(self, digest: bytes) -> Caller | None:
        found = self._callers.get(digest)
        if found is None or self._loop.time() - found[1] > STALE_SECONDS:
            return None
        self._check_expiry(found[0])
        return found[0]

    def _check_expiry(self, caller: Caller) -> None:
        if caller.expires_at is not None and caller.has_expired():
            raise KeyUnknown("The API key has expired. Make a new one under API keys.")


def may_exist(secret: str) -> bool:
    """Tell, without a look-up, whether a secret can be one of ours: our own keys carry a checksum."""
    if secret.startswith(PREFIX):
        return is_well_formed(secret)
    return SHORTEST_SECRET <= len(secret) <= LONGEST_SECRET and secret.isascii()


def _find(secret: str) -> Caller:
    caller, identity = find_caller(secret)
    if identity.credential.kind == CredentialKind.API_KEY:
        note_key_use(key=identity.row)
    return caller


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _put(cache: OrderedDict[bytes, T], digest: bytes, value: T) -> None:
    cache[digest] = value
    cache.move_to_end(digest)
    while len(cache) > MAX_CALLERS:
        cache.popitem(last=False)
