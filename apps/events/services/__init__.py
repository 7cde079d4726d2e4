"""Verbs of the event store: publish, subscribe, deliver, sweep, replay."""

from apps.events.services.publishing import publish
from apps.events.services.subscriptions import StoredEvent, subscribe
from apps.events.services.sweeping import register_sweep

__all__ = ["StoredEvent", "publish", "register_sweep", "subscribe"]
