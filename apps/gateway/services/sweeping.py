"""What the relay does for the gateway."""

from __future__ import annotations

from django.conf import settings

from apps.gateway.runtime.guard_hits import take_over
from apps.gateway.runtime.holders import release_dead
from apps.gateway.runtime.replay import replay_orphans


def replay_journals() -> int:
    """Record the usage that dead processes of this machine left in their journals; return the number of records.

    What they held of budgets is free then.
    """
    recorded = replay_orphans(settings.DATA_DIR / "journal")
    release_dead(settings.DATA_DIR / "journal")
    return recorded


def record_left_guard_hits() -> int:
    """Record what the guardrails of dead processes of this machine found; return the number of files."""
    return take_over(settings.DATA_DIR / "guard-hits")
