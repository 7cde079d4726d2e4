"""Quota of the dead: free as soon as their journal is recorded, and not a moment before."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from apps.billing.models import Budget, BudgetHolder, BudgetPeriod
from apps.gateway.runtime import holders
from apps.gateway.runtime.budgets import Budgets
from apps.gateway.runtime.holders import HolderMarks, release_dead
from apps.gateway.runtime.journal import Journal
from apps.gateway.runtime.loading import Loader
from apps.gateway.runtime.replay import replay_orphans
from apps.gateway.selectors.budgets import BudgetTerms
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.sweeping import replay_journals
from tests.factories.billing import BudgetFactory
from tests.gateway.conftest import run_in_database
from tests.gateway.test_journal import FORWARDED

pytestmark = pytest.mark.django_db(transaction=True)

FACTS = CallFacts(model="m", end_user="", tags=(), prompt_tokens=10, answer_tokens=10)


class Process:
    """What a web process has of all this: a journal, marks, budgets. Its end is that of its locks."""

    def __init__(self, directory: Path) -> None:
        self.journal = Journal(directory)
        self.marks = HolderMarks(self.journal)
        self.loader = Loader()
        self.budgets = Budgets(self.loader, mark=self.marks.mark)

    async def reserve(self, budget: Budget, micros: int) -> None:
        terms = (BudgetTerms(budget.id, budget.name, budget.scope, "", "", budget.window),)
        await self.budgets.reserve(terms, FACTS, models=("m",), micros=micros)

    def die(self) -> None:
        """Let go of everything at once, as the kernel does; nothing is given back."""
        self.marks.close()
        self.journal.close()
        self.loader.close()


@pytest_asyncio.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    found = Process(tmp_path / "journal")
    yield found
    found.die()


@pytest.fixture
def directory(process: Process) -> Path:
    return process.journal.directory


@pytest_asyncio.fixture
async def budget(transactional_db: None) -> Budget:
    return await run_in_database(lambda: BudgetFactory(organization_id=uuid4(), hard_micros=1000))


def marks(directory: Path) -> list[Path]:
    return list(directory.glob("*.holder"))


def leased() -> int:
    return BudgetPeriod.objects.get().leased_micros


async def release(directory: Path) -> int:
    return await run_in_database(lambda: release_dead(directory))


async def test_the_living_keep_what_they_hold(process: Process, directory: Path, budget: Budget) -> None:
    await process.reserve(budget, 300)
    assert await release(directory) == 0
    assert await run_in_database(leased) >= 300


async def test_what_the_dead_held_is_free_at_once(process: Process, directory: Path, budget: Budget) -> None:
    await process.reserve(budget, 300)
    process.die()
    assert await release(directory) == 1
    assert await run_in_database(leased) == 0
    assert await run_in_database(BudgetHolder.objects.count) == 0
    assert marks(directory) == []
    assert await release(directory) == 0


async def test_their_journal_comes_first(
    process: Process, directory: Path, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    await process.reserve(budget, 300)
    process.journal.begin(FORWARDED % uuid4().hex.encode())
    process.die()
    assert await release(directory) == 0, "what they spent is not recorded yet"
    assert await run_in_database(leased) >= 300
    await run_in_database(lambda: replay_orphans(directory))
    assert await release(directory) == 1


async def test_the_journals_of_others_are_no_reason_to_wait(
    process: Process, directory: Path, budget: Budget, tmp_path: Path
) -> None:
    await process.reserve(budget, 300)
    other = Process(directory)
    other.journal.begin(FORWARDED % uuid4().hex.encode())
    process.die()
    assert await release(directory) == 1
    other.die()


async def test_the_relay_does_it_where_no_web_process_is_left(
    process: Process, budget: Budget, tmp_path: Path, settings
) -> None:
    settings.DATA_DIR = tmp_path
    await process.reserve(budget, 300)
    process.die()
    await run_in_database(replay_journals)
    assert await run_in_database(leased) == 0


async def test_two_that_come_by_do_it_once(process: Process, directory: Path, budget: Budget) -> None:
    await process.reserve(budget, 300)
    process.die()
    [path] = marks(directory)
    other = os.open(path, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert await release(directory) == 0, "somebody is at it"
    os.close(other)
    assert await release(directory) == 1


async def test_a_holder_that_was_taken_for_dead_is_followed_by_another(
    process: Process, directory: Path, budget: Budget
) -> None:
    await process.reserve(budget, 300)
    process.budgets.book.reset()
    await process.reserve(budget, 300)
    assert len(marks(directory)) == 2
    process.die()
    assert await release(directory) == 2
    assert await run_in_database(leased) == 0


def test_a_database_that_does_not_answer_keeps_the_mark(
    process: Process, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.marks.mark(uuid4())
    process.die()

    def refuse(*, holder: UUID) -> int:
        raise ConnectionError("down")

    monkeypatch.setattr(holders, "release_holder", refuse)
    with pytest.raises(ConnectionError):
        release_dead(directory)
    assert len(marks(directory)) == 1


async def test_a_disk_that_refuses_costs_only_the_mark(
    process: Process, directory: Path, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "write", refuse)
    await process.reserve(budget, 300)
    monkeypatch.undo()
    assert marks(directory) == []
    process.die()
    assert await release(directory) == 0
