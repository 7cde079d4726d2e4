"""Postgres and Redis that come with the product, for one machine, for development and for tests.

Plain Python: nothing here needs Django, because these services are up before settings exist. Each service lives in
one private directory that it alone owns; whoever holds the directory may start, stop and restart the service.
"""

from apps.core.embedded.errors import EmbeddedServiceError
from apps.core.embedded.postgres import EmbeddedPostgres
from apps.core.embedded.redis import EmbeddedRedis

__all__ = ["EmbeddedPostgres", "EmbeddedRedis", "EmbeddedServiceError"]
