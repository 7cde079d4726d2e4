"""The wire formats that callers speak: each is read into, and written from, the one form in which calls live."""

from apps.gateway.dialects.base import Asked, Dialect, EventWriter

__all__ = ["Asked", "Dialect", "EventWriter"]
