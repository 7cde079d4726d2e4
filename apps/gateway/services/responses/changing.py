"""Cancel and delete responses."""

from __future__ import annotations

import asyncio
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from apps.core.actor import Actor
from apps.events.services import publish
from apps.gateway.events import ResponseDeleted
from apps.gateway.models import StoredResponse
from apps.gateway.runtime import Runtime
from apps.gateway.selectors.responses import find_response, unknown_response
from apps.gateway.services.responses.archive import Archive
from apps.gateway.services.responses.desk import desk_of
from apps.gateway.services.responses.keeping import delete_rows
from apps.gateway.services.responses.reading import POLL_SECONDS, find_here, load, read_document

CANCEL_SECONDS = 5.0
"""Longest wait for the process that writes a response to stop it."""


async def cancel_response(*, runtime: Runtime, actor: Actor, response_id: UUID) -> str:
    """Stop a response wherever it is written; return the object as it is then. One that is over stays as it is.

    Raise ResponseUnknown, or ResponsesUnreachable.
    """
    desk = desk_of(runtime)
    deadline = runtime.loop.time() + CANCEL_SECONDS
    archive = find_here(desk, actor, response_id)
    if archive is None:
        is_active = await load(runtime, lambda: request_cancellation(actor=actor, response_id=response_id))
        while is_active and runtime.loop.time() < deadline:
            await asyncio.sleep(POLL_SECONDS)
            is_active = (await load(runtime, lambda: find_response(actor=actor, response_id=response_id))).is_active
        return await read_document(runtime=runtime, actor=actor, response_id=response_id)
    desk.stop(response_id)
    await desk.wait(archive, lambda: not archive.is_active, seconds=CANCEL_SECONDS)
    return archive.document


async def remove_response(*, runtime: Runtime, actor: Actor, response_id: UUID) -> None:
    """Delete a response, its input and its events; one that is written here is stopped. Raises what cancelling does."""
    desk = desk_of(runtime)
    archive = find_here(desk, actor, response_id)
    if archive is None:
        await load(runtime, lambda: delete_response(actor=actor, response_id=response_id))
        return
    # From now on it is not stored; what is being stored at this moment comes before the deletion, in the same thread.
    archive.is_lost = True
    try:
        await desk.run(lambda: _delete_if_stored(actor, archive))
    except BaseException:
        archive.is_lost = False
        raise
    desk.stop(response_id)
    desk.drop(archive)


@transaction.atomic
def request_cancellation(*, actor: Actor, response_id: UUID) -> bool:
    """Ask the process that writes a response to stop; tell whether one does. Raise ResponseUnknown."""
    row = find_response(actor=actor, response_id=response_id)
    StoredResponse.objects.active().filter(id=row.id, cancel_requested_at=None).update(cancel_requested_at=Now())
    return row.is_active


@transaction.atomic
def delete_response(*, actor: Actor, response_id: UUID) -> None:
    """Delete a response for good. Raise ResponseUnknown."""
    row = StoredResponse.objects.visible_to(actor).filter(id=response_id).select_for_update(of=("self",)).first()
    if row is None:
        raise unknown_response(response_id)
    delete_rows([row.id])
    publish(ResponseDeleted(aggregate_id=row.id, organization_id=row.organization_id, model=row.model), actor=actor)


def _delete_if_stored(actor: Actor, archive: Archive) -> None:
    if not archive.is_new or StoredResponse.objects.filter(id=archive.id).exists():
        delete_response(actor=actor, response_id=archive.id)
