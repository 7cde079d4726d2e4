"""What is done to a running Portico while it serves: fifty times and more, in an order that the seed decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field

import redis

from apps.core.embedded import EmbeddedRedis
from apps.core.embedded.processes import find_processes_in
from tests.support.running import BASE_DIR, RunningPortico, build_environment

SERVICES = {"postgres": "postgres/cluster", "redis": "redis"}
PAUSE_SECONDS = 1.5

WEIGHTS = {
    ("kill", "web"): 10,
    ("kill", "worker"): 3,
    ("kill", "relay"): 4,
    ("kill", "beat"): 1,
    ("kill", "postgres"): 5,
    ("kill", "redis"): 5,
    ("pause", "web"): 4,
    ("pause", "postgres"): 6,
    ("pause", "redis"): 6,
    ("ask", "web"): 4,
    ("flush", "redis"): 6,
}


def find_victim(portico: RunningPortico, name: str) -> int:
    """Return the process to strike: one of `up`'s programs, or the first process of an embedded service."""
    if name in SERVICES:
        return min(find_processes_in(portico.data_dir / SERVICES[name]))
    programs = json.loads((portico.data_dir / "run" / "processes.json").read_text())
    return int(next(entry["pid"] for entry in programs if entry["name"].startswith(name)))


def manage(portico: RunningPortico, *arguments: str) -> str:
    """Run a command beside the running services; it finds them through PORTICO_DATA."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BASE_DIR,
        env=build_environment(PORTICO_DATA=str(portico.data_dir)),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


@dataclass
class Faults:
    """A seeded series of faults."""

    portico: RunningPortico
    seed: int
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    async def strike(self) -> None:
        """Do the next one. A victim that is just being restarted is left alone; another is chosen."""
        while True:
            deed, name = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            with contextlib.suppress(ProcessLookupError, StopIteration, ValueError, redis.RedisError):
                await getattr(self, f"_{deed}")(name)
                self.done[f"{deed} {name}"] += 1
                return
            await asyncio.sleep(0.2)

    async def _kill(self, name: str) -> None:
        os.kill(await asyncio.to_thread(find_victim, self.portico, name), signal.SIGKILL)

    async def _ask(self, name: str) -> None:
        os.kill(await asyncio.to_thread(find_victim, self.portico, name), signal.SIGTERM)

    async def _pause(self, name: str) -> None:
        victim = await asyncio.to_thread(find_victim, self.portico, name)
        # Postgres is many processes: those that serve a connection have to stand still as well.
        stopped = find_processes_in(self.portico.data_dir / SERVICES[name]) if name in SERVICES else {victim}
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(self._random.uniform(0.3, PAUSE_SECONDS))
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def _flush(self, name: str) -> None:
        url = EmbeddedRedis(self.portico.data_dir / name).recall_url()
        assert url is not None
        await asyncio.to_thread(lambda: redis.Redis.from_url(url, socket_timeout=2).flushall())
