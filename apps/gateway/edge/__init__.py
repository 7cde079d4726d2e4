"""The machine's entrance: `/v1/*` as a native ASGI application, in front of Django.

No middleware, no request objects, no ORM: a call touches only what its process holds in memory.
"""

from apps.gateway.edge.application import GatewayApplication

__all__ = ["GatewayApplication"]
