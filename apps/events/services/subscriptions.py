"""Who listens to what. Registered in `AppConfig.ready`, constant for the life of the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.events.events import DomainEvent


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as its subscribers get it."""

    id: UUID
    position: int
    type: str
    aggregate_type: str
    aggregate_id: UUID
    aggregate_version: int
    organization_id: UUID | None
    actor: dict[str, str]
    request_id: str
    occurred_at: datetime
    payload: dict[str, Any]


Handler = Callable[[StoredEvent], None]


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscriber: a stable name, the types it hears (None for all that `accepts` lets through), and its handler."""

    name: str
    types: frozenset[str] | None
    handler: Handler
    accepts: Callable[[DomainEvent], bool] | None = None

    def hears(self, event: DomainEvent) -> bool:
        """Tell whether the event is meant for this subscriber."""
        if self.types is not None and event.type not in self.types:
            return False
        return self.accepts is None or self.accepts(event)


_subscriptions: dict[str, Subscription] = {}


def subscribe(
    name: str,
    *,
    to: Iterable[type[DomainEvent]] | None,
    handler: Handler,
    accepts: Callable[[DomainEvent], bool] | None = None,
) -> None:
    """Register a subscriber. `to` None hears every event that `accepts` lets through.

    The handler runs in the transaction that removes the delivery: its database effects happen exactly once. It must not
    talk to the network; for that it enqueues a task, which may run twice.
    """
    types = None if to is None else frozenset(event.type for event in to)
    _subscriptions[name] = Subscription(name, types, handler, accepts)


def unsubscribe(name: str) -> None:
    """Forget a subscriber: its open deliveries wait, and become dead letters, until it is back."""
    _subscriptions.pop(name, None)


def subscriptions() -> dict[str, Subscription]:
    """Return the subscribers by name."""
    return _subscriptions


def subscribers_of(event: DomainEvent) -> list[str]:
    """Return the names of those who hear the event."""
    return [name for name, subscription in _subscriptions.items() if subscription.hears(event)]
