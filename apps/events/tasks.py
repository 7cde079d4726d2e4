"""Scheduled upkeep of the append-only tables."""

from __future__ import annotations

from celery import shared_task

from apps.core.partitions import drop_expired, ensure_partitions


@shared_task(name="events.keep_partitions")
def keep_partitions() -> None:
    """Create the months ahead and drop what retention lets go. Missing a day does no harm: three months are ahead."""
    ensure_partitions()
    drop_expired()
