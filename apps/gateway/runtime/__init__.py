"""What a process holds in memory so that a call needs no database: catalogue, callers, limits, the usage journal."""

from apps.gateway.runtime.state import Runtime, get_runtime

__all__ = ["Runtime", "get_runtime"]
