"""Look a response up: here, where it may not be stored yet, or in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import orjson

from apps.core.actor import Actor
from apps.gateway.choices import ACTIVE_RESPONSES
from apps.gateway.dialects.responses import Prior
from apps.gateway.dialects.responses.objects import name_items, parse_id, response_of_item
from apps.gateway.errors import PreviousResponseUnknown, ResponseNotStreamed, ResponsesUnreachable, ResponseUnknown
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.loading import UNREACHABLE
from apps.gateway.selectors.responses import Link, Stretch, find_response, read_chain, read_stretch, unknown_response
from apps.gateway.services.responses.archive import Archive
from apps.gateway.services.responses.desk import Desk, desk_of

T = TypeVar("T")

POLL_SECONDS = 0.4
"""How late events of another process are seen at the most, beside the time it takes to store them."""


async def read_document(*, runtime: Runtime, actor: Actor, response_id: UUID) -> str:
    """Return a response object as JSON. Raise ResponseUnknown, or ResponsesUnreachable when only the database knows."""
    archive = find_here(desk_of(runtime), actor, response_id)
    if archive is not None:
        return archive.document
    row = await load(runtime, lambda: find_response(actor=actor, response_id=response_id))
    return row.document


async def read_input(*, runtime: Runtime, actor: Actor, response_id: UUID) -> list[dict[str, Any]]:
    """Return the items of a response's input with their ids: what came before it first. Raises what read_document does."""
    found: list[dict[str, Any]] = []
    for link in reversed(await _read_links(runtime, actor, response_id)):
        found += name_items(orjson.loads(link.input), link.id)
        if link.id != response_id:
            found += orjson.loads(link.document)["output"]
    return found


async def find_prior(*, runtime: Runtime, actor: Actor, body: dict[str, Any]) -> Prior:
    """Return what a request goes on from and refers to. Raise PreviousResponseUnknown."""
    prior = Prior()
    previous = body.get("previous_response_id")
    if isinstance(previous, str):
        prior.response_id = parse_id(previous)
        links = await _read_previous(runtime, actor, prior.response_id, previous)
        for link in reversed(links):
            prior.items += link.items()
    given = body.get("input")
    for item in given if isinstance(given, list) else ():
        if isinstance(item, dict) and (item.get("type") == "item_reference" or set(item) == {"id"}):
            await _find_item(runtime, actor, item.get("id"), prior)
    return prior


async def _read_previous(runtime: Runtime, actor: Actor, response_id: UUID | None, shown: str) -> list[Link]:
    gone = PreviousResponseUnknown(
        f"Previous response {shown[:80]!r} does not exist, was not stored, or is not kept any more.",
        param="previous_response_id",
    )
    if response_id is None:
        raise gone
    try:
        links = await _read_links(runtime, actor, response_id)
    except ResponseUnknown:
        raise gone from None
    if links[0].status in ACTIVE_RESPONSES:
        raise PreviousResponseUnknown(
            f"Previous response {shown[:80]!r} is not complete yet.", param="previous_response_id"
        )
    if links[-1].previous_id is not None:
        raise PreviousResponseUnknown(
            f"A response that {shown[:80]!r} goes on from was deleted, or they are too many; send the items themselves.",
            param="previous_response_id",
        )
    return links


async def _find_item(runtime: Runtime, actor: Actor, name: Any, prior: Prior) -> None:
    response_id = response_of_item(name) if isinstance(name, str) else None
    if response_id is None or name in prior.referred:
        return
    try:
        link = (await _read_links(runtime, actor, response_id))[0]
    except ResponseUnknown:
        return
    items = [*name_items(orjson.loads(link.input), link.id), *orjson.loads(link.document)["output"]]
    prior.referred.update({item["id"]: item for item in items})


async def _read_links(runtime: Runtime, actor: Actor, response_id: UUID) -> list[Link]:
    """Return a chain, newest first: those that are still here, then those in the database."""
    desk = desk_of(runtime)
    links: list[Link] = []
    wanted: UUID | None = response_id
    while wanted is not None and (archive := find_here(desk, actor, wanted)) is not None:
        links.append(Link(archive.id, archive.previous_id, archive.status, archive.input, archive.document))
        wanted = archive.previous_id
    if wanted is None:
        return links
    earliest = wanted
    try:
        links += await load(runtime, lambda: read_chain(actor=actor, response_id=earliest))
    except ResponseUnknown:
        if not links:
            raise
    return links


def find_here(desk: Desk, actor: Actor, response_id: UUID) -> Archive | None:
    """Return a response of the actor's that this process has and has not stored as a whole."""
    archive = desk.archives.get(response_id)
    return archive if archive is not None and not archive.is_lost and archive.is_owned_by(actor) else None


async def load(runtime: Runtime, read: Callable[[], T]) -> T:
    """Return what `read` returns from the database. Raise ResponsesUnreachable when that is away."""
    try:
        return await runtime.loader.load(read)
    except UNREACHABLE as error:
        raise ResponsesUnreachable(
            "Stored responses cannot be read at the moment, because the database does not answer; try again shortly."
        ) from error


class Follower:
    """Reads the events of a response in order, from any process, while it is written or long after.

    Pulled by its reader, so that a slow client holds up nobody. `check` first.
    """

    def __init__(self, *, runtime: Runtime, actor: Actor, response_id: UUID, after: int = -1) -> None:
        self.response_id = response_id
        self.after = after
        self._runtime = runtime
        self._actor = actor
        self._desk = desk_of(runtime)
        self._event = asyncio.Event()
        self._error: Exception | None = None

    async def check(self) -> None:
        """Make sure that there is something to follow. Raise ResponseUnknown or ResponseNotStreamed."""
        archive = find_here(self._desk, self._actor, self.response_id)
        if archive is None:
            row = await load(self._runtime, lambda: find_response(actor=self._actor, response_id=self.response_id))
            is_streamed = row.is_stream or row.is_background
        else:
            is_streamed = archive.is_stream or archive.is_background
        if not is_streamed:
            raise ResponseNotStreamed(
                "This response was made without `stream`; only streamed ones and those in the background can be followed.",
                param="stream",
            )

    def end(self, error: Exception | None = None) -> None:
        """Make reading end with an error, at once."""
        self._error = error
        self._event.set()

    async def read(self, *, timeout_seconds: float) -> tuple[str, bool]:
        """Return the next events, and whether they are the last; no events when the time is over."""
        clock = self._runtime.loop.time
        deadline = clock() + timeout_seconds
        while True:
            if self._error is not None:
                raise self._error
            archive = self._desk.archives.get(self.response_id)
            is_here = archive is not None and not archive.is_lost
            found = self._read_here(archive) if archive is not None and is_here else None
            if found is None:
                found = await self._read_stored(is_here=is_here)
            if found.events or found.is_over:
                self.after = found.last
                return found.events, found.is_over
            left = deadline - clock()
            if left <= 0:
                return "", False
            await self._wait(archive if is_here else None, left)

    def _read_here(self, archive: Archive) -> Stretch | None:
        after = min(self.after, archive.last_sequence - 1) if not archive.is_active else self.after
        found = archive.events_after(after)
        if found is None:
            return None
        events, last = found
        return Stretch(events, last, is_over=not archive.is_active and last >= archive.last_sequence)

    async def _read_stored(self, *, is_here: bool) -> Stretch:
        try:
            found: Stretch = await self._runtime.loader.load(
                lambda: read_stretch(response_id=self.response_id, after=self.after)
            )
        except UNREACHABLE:
            return Stretch("", self.after, is_over=False)
        except ResponseUnknown:
            if is_here:
                return Stretch("", self.after, is_over=False)
            raise unknown_response(self.response_id) from None
        # What is still here has more to say than the database knows.
        return Stretch(found.events, found.last, is_over=found.is_over and not is_here)

    async def _wait(self, archive: Archive | None, seconds: float) -> None:
        self._event.clear()
        if archive is not None:
            archive.wait_for(self._event)
        try:
            async with asyncio.timeout(min(seconds, POLL_SECONDS)):
                await self._event.wait()
        except TimeoutError:
            pass
        finally:
            if archive is not None:
                archive.stop_waiting(self._event)
