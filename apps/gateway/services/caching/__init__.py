"""The response cache: find an answer that was given before, and keep one for the next who asks.

Asked after authorisation and guardrails, before limits: a hit is a call like any other, to the pseudo-provider `cache`.
Whatever goes wrong with the cache is a miss, never an error.
"""

from apps.gateway.services.caching.control import CacheControl, read_control
from apps.gateway.services.caching.finding import find_cached, read_vector
from apps.gateway.services.caching.keeping import CacheLookup, keep_answer

__all__ = ["CacheControl", "CacheLookup", "find_cached", "keep_answer", "read_control", "read_vector"]
