"""How often somebody may try: one count for every way to show a password.

Counts live in Redis. While Redis does not answer, each process counts for itself with the same limits: guessing stays
bounded (limits times processes) and people can still log in.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from apps.core.redis import get_redis
from apps.users.errors import LoginThrottled, MailThrottled

logger = structlog.get_logger(__name__)

MAX_LOCAL_COUNTS = 10_000
OVERFLOW = "others"


@dataclass(frozen=True, slots=True)
class Limit:
    """`times` attempts within `seconds`, counted from the first."""

    name: str
    times: int
    seconds: int

    def key(self, subject: str) -> str:
        """Return where the count of a subject lies; an address is not kept in clear."""
        return f"portico:attempts:{self.name}:{hashlib.sha256(subject.encode()).hexdigest()[:32]}"


# One guesser at one account, many guessers at one account, one guesser at many accounts.
LOGIN_PAIR = Limit("login-pair", 10, 15 * 60)
LOGIN_ACCOUNT = Limit("login-account", 50, 60 * 60)
LOGIN_ADDRESS = Limit("login-address", 100, 15 * 60)
MAIL_ACCOUNT = Limit("mail-account", 5, 60 * 60)
MAIL_ADDRESS = Limit("mail-address", 30, 60 * 60)


def count_login(*, email: str, ip_address: str) -> None:
    """Count an attempt before the password is looked at, so that parallel guesses cannot pass. Raise LoginThrottled."""
    wait = max(_count(limit, subject) for limit, subject in _login_counts(email, ip_address))
    if wait:
        raise LoginThrottled(
            f"Too many attempts; try again in {wait} seconds, or set a new password.", retry_after_seconds=wait
        )


def forgive_login(*, email: str, ip_address: str) -> None:
    """Forget the failures of an account that was entered; the address only gets this one attempt back."""
    for limit, subject in _login_counts(email, ip_address):
        _forgive(limit, subject, all_of_it=limit is not LOGIN_ADDRESS)


def count_mail(*, email: str, ip_address: str) -> None:
    """Count a request for a mail, whether or not the address has an account. Raise MailThrottled."""
    wait = max(_count(MAIL_ACCOUNT, email), _count(MAIL_ADDRESS, ip_address))
    if wait:
        raise MailThrottled(f"Too many mails were asked for; try again in {wait} seconds.", retry_after_seconds=wait)


def _login_counts(email: str, ip_address: str) -> list[tuple[Limit, str]]:
    return [(LOGIN_PAIR, f"{email}|{ip_address}"), (LOGIN_ACCOUNT, email), (LOGIN_ADDRESS, ip_address)]


def _count(limit: Limit, subject: str) -> int:
    """Count one attempt; return the seconds to wait where it is one too many, else 0."""
    key = limit.key(subject)
    try:
        with get_redis().pipeline(transaction=True) as pipeline:
            pipeline.set(key, 0, ex=limit.seconds, nx=True)
            pipeline.incr(key)
            pipeline.ttl(key)
            _, count, seconds = pipeline.execute()
    except RedisError as error:
        logger.warning("attempts_counted_locally", error=str(error)[:300])
        count, seconds = _local.count(key, limit.seconds)
    return max(1, seconds) if count > limit.times else 0


def _forgive(limit: Limit, subject: str, *, all_of_it: bool) -> None:
    key = limit.key(subject)
    _local.forgive(key, all_of_it=all_of_it)
    try:
        if all_of_it:
            get_redis().delete(key)
        else:
            get_redis().decr(key)
    except RedisError as error:
        logger.warning("attempts_not_forgiven", error=str(error)[:300])


class LocalCounts:
    """The counts of one process, bounded in number."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def count(self, key: str, seconds: int) -> tuple[int, int]:
        """Count one attempt; return the count and the seconds until it starts anew."""
        now = time.monotonic()
        with self._lock:
            if len(self._counts) >= MAX_LOCAL_COUNTS:
                self._counts = {name: item for name, item in self._counts.items() if item[1] > now}
            if len(self._counts) >= MAX_LOCAL_COUNTS and key not in self._counts:
                key = OVERFLOW  # a flood of subjects shares one count rather than pushing others out
            count, ends = self._counts.get(key, (0, 0.0))
            if ends <= now:
                count, ends = 0, now + seconds
            self._counts[key] = (count + 1, ends)
        return count + 1, int(ends - now)

    def forgive(self, key: str, *, all_of_it: bool) -> None:
        """Take back one attempt, or all."""
        with self._lock:
            count, ends = self._counts.pop(key, (0, 0.0))
            if count > 1 and not all_of_it:
                self._counts[key] = (count - 1, ends)


_local = LocalCounts()
