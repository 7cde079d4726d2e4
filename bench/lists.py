"""The list of 100 conversations, as a client sees it."""

from __future__ import annotations

import statistics
import time
from typing import Any

import httpx

from bench.servers import Target

CONVERSATIONS = 100
REQUESTS = 100


def measure_conversations(target: Target) -> dict[str, Any]:
    """Make 100 conversations and read them in one page, one request after the other; return milliseconds."""
    headers = {"Authorization": f"Bearer {target.key}"}
    with httpx.Client(base_url=target.url, headers=headers, timeout=30) as client:
        for number in range(CONVERSATIONS):
            client.post("/api/v3/conversations", json={"title": f"Conversation {number}"}).raise_for_status()
        times = []
        for _ in range(REQUESTS):
            started = time.perf_counter()
            page = client.get("/api/v3/conversations", params={"page_size": CONVERSATIONS})
            times.append(1000 * (time.perf_counter() - started))
            page.raise_for_status()
        rows = len(page.json()["items"])
    return {
        "list": "conversations",
        "rows": rows,
        "p50_ms": round(statistics.median(times), 2),
        "p99_ms": round(statistics.quantiles(times, n=100)[98], 2),
    }
