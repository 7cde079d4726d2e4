"""A web process's answering, alone, for tests that kill it.

`python -m tests.support.answering_process ID` answers for the person of that membership with an endless answer, prints
the run's id and then each number that is stored.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from uuid import UUID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings.test")

import django

django.setup()

from apps.conversations.runtime.database import in_database  # noqa: E402
from apps.conversations.services import answering  # noqa: E402
from apps.conversations.services.following import RunFollower  # noqa: E402
from apps.conversations.services.runs import Chat, Repeat  # noqa: E402
from apps.users.models import Membership  # noqa: E402
from apps.users.selectors import actor_of_user  # noqa: E402
from tests.support.fake_gateway import FakeCall  # noqa: E402


class EndlessCall(FakeCall):
    """Says a number every five milliseconds, for ever."""

    async def batches(self):
        for number in count():
            self._script = [f"{number} "]
            async for batch in super().batches():
                yield batch
            if self._stop.is_set():
                return
            self.has_ended = False
            await asyncio.sleep(0.005)


async def open_endless(*, actor, request, endpoint, request_id) -> EndlessCall:
    return EndlessCall([], request_id)


async def main(membership_id: UUID) -> None:
    answering.open_chat = open_endless
    membership = await in_database(Membership.objects.select_related("user").get, id=membership_id)
    actor = await in_database(actor_of_user, user=membership.user, organization_id=membership.organization_id)
    run = await answering.begin_answer(actor=actor, asked=Chat("Count", model="fake"), repeat=Repeat())
    async with RunFollower(run) as follower:
        while True:
            for event in await follower.read(timeout_seconds=5):
                print(run.id, event.seq, flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(UUID(sys.argv[1])))
