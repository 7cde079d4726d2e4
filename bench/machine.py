"""What the numbers were measured on, and what the processes cost (Linux: /proc)."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Cost:
    """CPU seconds so far and resident bytes of a process with its children."""

    cpu_seconds: float
    resident_bytes: int


@dataclass(frozen=True)
class Memory:
    """What a process holds now. `proportional_kb` counts a page that several processes share by its share."""

    resident_kb: int
    proportional_kb: int
    descriptors: int


def memory_of(pid: int) -> Memory:
    """Return the memory of one process, without its children."""
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())
    sizes = {words[0]: int(words[1]) for words in lines if words[0] in {"Rss:", "Pss:"}}
    return Memory(sizes["Rss:"], sizes["Pss:"], len(list(Path(f"/proc/{pid}/fd").iterdir())))


def describe() -> dict[str, str | int]:
    """Return the machine in a line or two."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def descendants(pid: int) -> list[int]:
    """Return a process and everything below it."""
    found, queue = [], [pid]
    while queue:
        current = queue.pop()
        try:
            for task in Path(f"/proc/{current}/task").iterdir():
                queue += map(int, (task / "children").read_text().split())
        except OSError:
            continue
        found.append(current)
    return found


def cost_of(pid: int | None) -> Cost:
    """Return what a process and its children have used; nothing for None."""
    ticks = pages = 0
    for current in descendants(pid) if pid else []:
        try:
            fields = Path(f"/proc/{current}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
        pages += int(fields[21])
    return Cost(ticks / TICKS, pages * PAGE)


def pin(pid: int, core: int) -> None:
    """Keep a process, its threads and its children on one core."""
    for current in descendants(pid):
        for task in Path(f"/proc/{current}/task").iterdir():
            try:
                os.sched_setaffinity(int(task.name), {core})
            except ProcessLookupError:
                continue
