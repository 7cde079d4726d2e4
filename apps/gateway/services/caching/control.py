"""What a caller may ask of the cache with one call."""

from __future__ import annotations

from dataclasses import dataclass

from apps.gateway.errors import ParameterInvalid

HEADER = "x-portico-cache"


@dataclass(frozen=True, slots=True)
class CacheControl:
    """`may_read` an answer, `may_keep` a new one, `must_hit` or be refused; `max_age_seconds` bounds the age of a hit.

    Who may not keep may not read either.
    """

    may_read: bool = True
    may_keep: bool = True
    must_hit: bool = False
    max_age_seconds: int | None = None


DEFAULT = CacheControl()
OFF = CacheControl(may_read=False, may_keep=False)
REFRESH = CacheControl(may_read=False)
ONLY = CacheControl(must_hit=True)
_WORDS = {"off": OFF, "refresh": REFRESH, "only": ONLY, "on": DEFAULT}
_DIRECTIVES = {"no-store": OFF, "no-cache": REFRESH, "only-if-cached": ONLY}


def read_control(ours: str, standard: str = "") -> CacheControl:
    """Return what `x-portico-cache` asks for, else what `Cache-Control` does.

    Raise ParameterInvalid for a word that `x-portico-cache` does not know; what Cache-Control says besides is for others.
    """
    word = ours.strip().lower()
    if word:
        if word in _WORDS:
            return _WORDS[word]
        if word.isascii() and word.isdigit() and len(word) < 10:
            return CacheControl(max_age_seconds=int(word))
        raise ParameterInvalid(
            f"{HEADER} is {ours[:50]!r}; it has to be off, refresh, only or a number of seconds.", param=HEADER
        )
    for directive in standard.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name in _DIRECTIVES:
            return _DIRECTIVES[name]
        if name == "max-age" and value.isascii() and value.isdigit() and len(value) < 10:
            return CacheControl(max_age_seconds=int(value)) if int(value) else REFRESH
    return DEFAULT
