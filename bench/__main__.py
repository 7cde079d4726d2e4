"""Measure, print, record. Ratios in one run count; absolute figures belong to the machine that is described."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine
from bench.furnishing import furnish
from bench.guards import measure_guards
from bench.lists import measure_conversations
from bench.servers import MODEL, ROOT, Target, build_tools, litellm, portico, upstream

SERVER_CORE, LOAD_CORE = 0, 1
MESSAGES = [{"role": "user", "content": "Say hello to the world in one short sentence."}]
# What LiteLLM proxy 1.10x reached on a 2-core machine of this kind (docs/adr/0002-hot-path.md), for runs without it.
LITELLM_RECORDED = {("json", 64): 78.0, ("stream", 64): 22.0}
GOALS = {("json", 64): 20, ("stream", 64): 40}
"""Times LiteLLM's rate."""
MAX_ADDED_P50_MS = 0.8
MAX_WORKER_MB = 110
PACE_MS, PACED_CONNECTIONS = 10, 16
MAX_PACED_SHARE = 1.01
"""Streams whose chunks come at a pace may last this much longer than at the upstream itself."""


def load(tools: dict[str, Path], target: Target, *, mode: str, connections: int, seconds: float) -> dict[str, Any]:
    """Drive one target once; return the load generator's figures with the server's CPU and memory."""
    body: dict[str, Any] = {"model": MODEL, "messages": MESSAGES}
    if mode == "stream":
        body["stream"] = True
    before, started = machine.cost_of(target.pid), time.monotonic()
    output = subprocess.run(
        [
            "taskset", "-c", str(LOAD_CORE), tools["llmload"], "-c", str(connections), "-d", str(seconds), "-w", "1",
            "-H", f"Authorization: Bearer {target.key}", "-b", json.dumps(body), f"{target.url}/v1/chat/completions",
        ],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    elapsed, after = time.monotonic() - started, machine.cost_of(target.pid)
    figures: dict[str, Any] = json.loads(output)
    spent = after.cpu_seconds - before.cpu_seconds
    figures |= {
        "target": target.name,
        "mode": mode,
        "cpu_ms_per_request": round(1000 * spent / (figures["rps"] * elapsed), 3) if figures["rps"] else None,
        "resident_mb": round(after.resident_bytes / 2**20),
        "proportional_mb": round(machine.memory_of(target.pid).proportional_kb / 1024) if target.pid else 0,
    }
    return figures


def measure_paced(tools: dict[str, Path], upstream_url: str, *, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Return runs of streams whose chunks come every PACE_MS: what matters to a reader is that nothing holds them up."""
    paced_url = f"{upstream_url}/d{PACE_MS}"
    with portico(paced_url) as ours:
        furnish(ours)
        if ours.pid:
            machine.pin(ours.pid, SERVER_CORE)
        targets = [Target("upstream", paced_url, "mock", None), ours]
        found = [
            load(tools, target, mode="stream", connections=PACED_CONNECTIONS, seconds=seconds)
            for _ in range(rounds)
            for target in targets
        ]
    return [{**run, "mode": f"stream, {PACE_MS} ms apart"} for run in found]


def summarize(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the medians over the rounds, one row per mode, connections and target."""
    groups: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["mode"], run["conns"], run["target"]), []).append(run)
    rows = []
    for (mode, connections, target), found in groups.items():
        rows.append(
            {
                "mode": mode,
                "connections": connections,
                "target": target,
                "requests_per_second": round(statistics.median(run["rps"] for run in found), 1),
                "p50_ms": statistics.median(run["latency_us"]["p50"] for run in found) / 1000,
                "p99_ms": statistics.median(run["latency_us"]["p99"] for run in found) / 1000,
                "first_byte_p50_ms": statistics.median(run["ttfb_us"]["p50"] for run in found) / 1000,
                "cpu_ms_per_request": statistics.median(run["cpu_ms_per_request"] or 0 for run in found),
                "resident_mb": max(run["resident_mb"] for run in found),
                "proportional_mb": max(run["proportional_mb"] for run in found),
                "errors": sum(run["errors"] + run["non2xx"] for run in found),
            }
        )
    return rows


def compare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return Portico against LiteLLM (live where it ran, else as recorded) and against the goal."""
    rates = {(row["mode"], row["connections"], row["target"]): row["requests_per_second"] for row in rows}
    verdicts = []
    for (mode, connections), goal in GOALS.items():
        ours = rates.get((mode, connections, "portico"))
        if ours is None:
            continue
        live = rates.get((mode, connections, "litellm"))
        base = live or LITELLM_RECORDED[mode, connections]
        verdicts.append(
            {
                "mode": mode,
                "portico": ours,
                "litellm": base,
                "litellm_is": "live" if live else "recorded",
                "ratio": round(ours / base, 1),
                "goal": goal,
                "met": ours / base >= goal,
            }
        )
    return verdicts


def judge(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what a call pays for the gateway: time added at one connection, and a worker's memory after the load."""
    found = {(row["mode"], row["connections"], row["target"]): row for row in rows}
    ours, bare = found.get(("json", 1, "portico")), found.get(("json", 1, "upstream"))
    verdicts = []
    if ours and bare:
        added = round(ours["p50_ms"] - bare["p50_ms"], 2)
        verdicts.append({"what": "added p50 ms, 1 connection", "value": added, "goal": MAX_ADDED_P50_MS})
    paced = [row for row in rows if row["mode"].endswith("apart")]
    if paced:
        times = {row["target"]: row["p50_ms"] for row in paced}
        share = round(times["portico"] / times["upstream"], 3)
        what = f"{paced[0]['mode']}, {PACED_CONNECTIONS} connections: p50 to the upstream's"
        verdicts.append({"what": what, "value": share, "goal": MAX_PACED_SHARE})
    # Workers are copies of one process: memory that they share is counted once, by share, as it is paid for.
    memory = max((row["proportional_mb"] for row in rows if row["target"] == "portico"), default=0)
    verdicts.append(
        {"what": "memory of a worker after load, MB (proportional)", "value": memory, "goal": MAX_WORKER_MB}
    )
    return [{**verdict, "met": verdict["value"] <= verdict["goal"]} for verdict in verdicts]


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as Markdown."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(row[name]) for name in head) + " |" for row in rows])


def main() -> int:
    """Run the benchmark; exit 1 when a goal is missed or a request failed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--json", action="store_true", help="print the record instead of tables")
    options = parser.parse_args()
    tools = build_tools()
    runs: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        upstream_url = stack.enter_context(upstream(tools, LOAD_CORE))
        ours = stack.enter_context(portico(upstream_url))
        theirs = stack.enter_context(litellm(upstream_url))
        furnish(ours)
        targets = [Target("upstream", upstream_url, "mock", None), ours, *([theirs] if theirs else [])]
        for target in targets:
            if target.pid:
                machine.pin(target.pid, SERVER_CORE)
        for _ in range(options.rounds):
            for mode in ("json", "stream"):
                for connections in map(int, options.connections.split(",")):
                    for target in targets:
                        runs.append(load(tools, target, mode=mode, connections=connections, seconds=options.seconds))
        lists = measure_conversations(ours)
    with upstream(tools, LOAD_CORE) as upstream_url:
        runs += measure_paced(tools, upstream_url, rounds=options.rounds, seconds=options.seconds)
    guards = measure_guards()
    rows = summarize(runs)
    record = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "gateway": rows,
        "against_litellm": compare(rows),
        "costs": judge(rows),
        "lists": lists,
        "guards": guards,
    }
    path = ROOT / "bench" / "results" / f"{datetime.now(UTC):%Y-%m-%d-%H%M}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    if options.json:
        print(json.dumps(record))
    else:
        print(
            table(rows),
            table(record["against_litellm"]),
            table(record["costs"]),
            table([lists]),
            table(guards),
            f"recorded in {path.relative_to(ROOT)}",
            sep="\n\n",
        )
    failed = [row for row in rows if row["target"] == "portico" and row["errors"]]
    met = all(verdict["met"] for verdict in record["against_litellm"] + record["costs"] + guards)
    return 0 if met and not failed else 1


if __name__ == "__main__":
    raise SystemExit(main())
