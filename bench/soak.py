"""`make soak`: half of the load it could bear, for half an hour, and whether anything grows that should not."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine
from bench.servers import MODEL, ROOT, Target, build_tools, portico, programs, upstream

UPSTREAM_MS = 40
"""How long the mock takes to answer: with it, the number of connections decides the rate."""
SAMPLE_SECONDS = 10
WARM_SHARE = 0.15
"""Caches, pools and the allocator fill in the beginning: growth is counted after this share of the time."""
MAX_GROWTH_MB = 5.0
WATCHED = ("web", "worker", "relay", "beat")


def drive(
    tools: dict[str, Path], target: Target, *, connections: int, seconds: float, stream: bool
) -> subprocess.Popen[str]:
    """Begin a load of so many connections."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "stream": stream}
    return subprocess.Popen(
        [
            tools["llmload"], "-c", str(connections), "-d", str(seconds), "-w", "1",
            "-H", f"Authorization: Bearer {target.key}", "-b", json.dumps(body), f"{target.url}/v1/chat/completions",
        ],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def sample(data: Path, begun: float) -> dict[str, Any]:
    """Return the megabytes and descriptors of every program now."""
    found: dict[str, Any] = {"second": round(time.monotonic() - begun)}
    for name, pid in programs(data).items():
        if name.startswith(WATCHED):
            memory = machine.memory_of(pid)
            found[name] = {"resident_mb": round(memory.resident_kb / 1024, 1), "descriptors": memory.descriptors}
    found["journal_mb"] = round(sum(file.stat().st_size for file in (data / "journal").glob("*")) / 2**20, 1)
    return found


def growth(samples: list[dict[str, Any]], name: str) -> float:
    """Return by how many megabytes a program grew from the beginning (after the warm-up) to the end: medians of tenths."""
    series = [found[name]["resident_mb"] for found in samples[int(len(samples) * WARM_SHARE) :]]
    tenth = max(1, len(series) // 10)
    return round(statistics.median(series[-tenth:]) - statistics.median(series[:tenth]), 1)


def soak(minutes: float) -> dict[str, Any]:
    """Run, and return what was seen."""
    tools = build_tools()
    seconds = minutes * 60
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(upstream(tools, core=1))
        ours = stack.enter_context(portico(f"{address}/d{UPSTREAM_MS}"))
        peak = json.loads(drive(tools, ours, connections=400, seconds=5, stream=False).communicate()[0])["rps"]
        # Two thirds of half the peak in one piece, the rest as streams, of which each costs about twice as much.
        connections = max(1, round(peak / 3 * UPSTREAM_MS / 1000))
        streams = max(1, round(peak / 12 * 24 * UPSTREAM_MS / 1000))
        loads = [
            drive(tools, ours, connections=connections, seconds=seconds, stream=False),
            drive(tools, ours, connections=streams, seconds=seconds, stream=True),
        ]
        begun, samples = time.monotonic(), []
        while any(load.poll() is None for load in loads):
            samples.append(sample(ours.data, begun))
            print(json.dumps(samples[-1]), file=sys.stderr, flush=True)
            time.sleep(SAMPLE_SECONDS)
        figures = [json.loads(load.communicate()[0]) for load in loads]
    return {
        "minutes": minutes,
        "peak_requests_per_second": peak,
        "requests_per_second": round(sum(found["rps"] for found in figures), 1),
        "answered": sum(found["ok"] for found in figures),
        "errors": sum(found["errors"] + found["non2xx"] for found in figures),
        "grown_mb": {name: growth(samples, name) for name in samples[-1] if name.startswith(WATCHED)},
        "allowed_mb": MAX_GROWTH_MB,
        "samples": samples[:: max(1, len(samples) // 30)],
    }


def main() -> int:
    """Run, print and record; exit 1 when a call failed or a program grew."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    figures = soak(parser.parse_args().minutes)
    record = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "soak": figures,
    }
    path = ROOT / "bench" / "results" / f"soak-{datetime.now(UTC):%Y-%m-%d-%H%M}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    shown = {name: value for name, value in figures.items() if name != "samples"}
    print(json.dumps(shown, indent=1), f"recorded in {path.relative_to(ROOT)}", sep="\n")
    return 0 if not figures["errors"] and max(figures["grown_mb"].values()) <= MAX_GROWTH_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())
