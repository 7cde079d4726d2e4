"""`python -m bench.streams`: thousands of streams open at once, and what each costs in memory.

The mock upstream sends one event a second, so that all streams are open together for most of their twenty seconds. Each
needs two descriptors of a web process: where the system allows fewer than that, more web processes share them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine
from bench.servers import MODEL, ROOT, build_tools, portico, upstream, web_processes

GOAL_KB = 40
EVENT_MS = 1000
HOLD_SECONDS = 18
SPARE_DESCRIPTORS = 500


def call(tools: dict[str, Path], url: str, key: str, *, connections: int, seconds: float) -> subprocess.Popen[str]:
    """Begin to hold so many streams open for so long."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "stream": True}
    return subprocess.Popen(
        [
            tools["llmload"], "-c", str(connections), "-d", str(seconds), "-w", "1",
            "-H", f"Authorization: Bearer {key}", "-b", json.dumps(body), f"{url}/v1/chat/completions",
        ],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def memory(data: Path) -> list[machine.Memory]:
    """Return what each web process holds."""
    return [machine.memory_of(pid) for pid in web_processes(data)]


def measure(count: int) -> dict[str, Any]:
    """Open `count` streams and return what they cost."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    processes = -(-2 * count // (most - SPARE_DESCRIPTORS))
    tools = build_tools()
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(upstream(tools, core=1))
        ours = stack.enter_context(portico(f"{address}/d{EVENT_MS}", WEB_CONCURRENCY=str(processes)))
        # What is made once (connections, tables for counting the tokens of cut answers) is made before the measurement.
        call(tools, ours.url, ours.key, connections=100 * processes, seconds=3).wait()
        time.sleep(5)
        before = memory(ours.data)
        load = call(tools, ours.url, ours.key, connections=count, seconds=HOLD_SECONDS + 12)
        samples = []
        for _ in range(HOLD_SECONDS):
            time.sleep(1)
            samples.append(memory(ours.data))
        figures = json.loads(load.communicate()[0])
    most_open = max(samples, key=lambda sample: sum(found.descriptors for found in sample))
    begun = sum(found.descriptors for found in before)
    streams = (sum(found.descriptors for found in most_open) - begun) / 2
    grown = sum(found.resident_kb for found in samples[-1]) - sum(found.resident_kb for found in before)
    return {
        "streams": count,
        "web_processes": processes,
        "most_open_at_once": round(streams),
        "completed": figures["ok"],
        "errors": figures["errors"] + figures["non2xx"],
        "resident_before_mb": round(sum(found.resident_kb for found in before) / 1024),
        "resident_open_mb": round(sum(found.resident_kb for found in samples[-1]) / 1024),
        "kb_per_stream": round(grown / streams, 1),
        "goal_kb": GOAL_KB,
    }


def main() -> int:
    """Run, print and record; exit 1 when a stream failed or costs more than the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    figures = measure(parser.parse_args().streams)
    record = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "streams": figures,
    }
    path = ROOT / "bench" / "results" / f"streams-{datetime.now(UTC):%Y-%m-%d-%H%M}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(figures, indent=1), f"recorded in {path.relative_to(ROOT)}", sep="\n")
    return 0 if not figures["errors"] and figures["kb_per_stream"] <= GOAL_KB else 1


if __name__ == "__main__":
    raise SystemExit(main())
