"""The state of runs: what a stream reads, and who may still read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils import timezone
from oauth2_provider.models import get_access_token_model

from apps.conversations.models import Run, RunDelta
from apps.core.actor import Actor
from apps.core.errors import NotFound
from apps.users.choices import CredentialKind
from apps.users.models import ApiKey, Membership, UserSession
from apps.users.selectors.credentials import Credential

# One read of a stream takes this many deltas at the most: a client that resumes a long answer gets it in pieces.
PAGE = 200


@dataclass(frozen=True, slots=True)
class Standing:
    """What a stream needs to know of a run: its deltas after a place, and whether and where it ended."""

    run: Run
    deltas: list[tuple[int, str]]

    @property
    def has_ended_here(self) -> bool:
        """Tell whether the run is over and nothing but its end is left to say."""
        return not self.run.is_active and len(self.deltas) < PAGE


def find_run(*, actor: Actor, run_id: UUID) -> Run:
    """Return a run of the actor's own, undeleted conversation, with what its events show. Raise NotFound."""
    found = (
        Run.objects.visible_to(actor)
        .select_related("conversation", "message", "sent_message")
        .filter(id=run_id, message__deleted_at__isnull=True)
        .first()
    )
    if found is None:
        raise NotFound()
    return found


def read_standing(*, run_id: UUID, after: int) -> Standing:
    """Return the run and its deltas after `after`.

    The run is read first: when it says that it is over, every delta was there before, so none can be missed.
    Raise NotFound for a run that was erased meanwhile.
    """
    run = Run.objects.select_related("conversation", "message", "sent_message").filter(id=run_id).first()
    if run is None:
        raise NotFound()
    rows = RunDelta.objects.filter(run_id=run_id, seq__gt=after).order_by("seq")
    return Standing(run, list(rows.values_list("seq", "text")[:PAGE]))


def withdrawn(credentials: Iterable[Credential]) -> set[Credential]:
    """Return those that no longer open what they opened: ended, expired, their person suspended or gone.

    At most four queries, whatever their number: one look serves every open stream of a process.
    """
    every = set(credentials)
    members = set(
        Membership.objects.filter(
            user_id__in={each.user_id for each in every},
            organization_id__in={each.organization_id for each in every if each.organization_id},
            user__is_active=True,
            organization__is_active=True,
        ).values_list("user_id", "organization_id")
    )
    live = {kind: _live_ids(kind, {each.id for each in every if each.kind == kind}) for kind in CredentialKind}
    return {
        each for each in every if (each.user_id, each.organization_id) not in members or each.id not in live[each.kind]
    }


def _live_ids(kind: CredentialKind, ids: set[Any]) -> set[Any]:
    if not ids:
        return set()
    if kind == CredentialKind.SESSION:
        return set(UserSession.objects.live().filter(id__in=ids).values_list("id", flat=True))
    if kind == CredentialKind.API_KEY:
        return set(ApiKey.objects.usable().filter(id__in=ids).values_list("id", flat=True))
    tokens = get_access_token_model().objects.filter(
        id__in=ids, expires__gt=timezone.now(), application__is_active=True
    )
    return set(tokens.values_list("id", flat=True))
