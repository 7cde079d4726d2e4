"""What the gateway tells Prometheus. Children are looked up once: label handling costs more than counting."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
LABELS = ("model", "provider", "status")

REQUESTS = Counter("portico_gateway_requests", "Calls that were forwarded to a provider, by outcome.", LABELS)
TOKENS = Counter("portico_gateway_tokens", "Tokens of forwarded calls.", ("model", "provider", "direction"))
COST = Counter(
    "portico_gateway_cost_micros", "Cost of forwarded calls in millionths of a dollar.", ("model", "provider")
)
LATENCY = Histogram(
    "portico_gateway_latency_seconds", "From the forwarding of a call to its end.", LABELS, buckets=LATENCY_BUCKETS
)
FIRST_TOKEN = Histogram(
    "portico_gateway_first_token_seconds",
    "From the forwarding of a streamed call to its first event.",
    LABELS,
    buckets=LATENCY_BUCKETS,
)
OVERHEAD = Histogram(
    "portico_gateway_overhead_seconds",
    "Time that the gateway adds to an answer that comes in one piece.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0),
)
REFUSALS = Counter("portico_gateway_refusals", "Calls that were refused before any provider was asked.", ("code",))
ATTEMPTS = Counter(
    "portico_gateway_attempts", "Times that a call was sent to a deployment, by outcome.", ("provider", "outcome")
)
FALLBACKS = Counter(
    "portico_gateway_fallbacks",
    "Calls that another model answered than the one meant, by the reason.",
    ("model", "reason"),
)
RULE_HITS = Counter("portico_gateway_rule_hits", "Calls that a routing rule decided.", ("rule",))
RULE_FAILURES = Counter("portico_gateway_rule_failures", "Times that a routing rule could not be asked.", ("rule",))
BREAKERS_OPEN = Gauge(
    "portico_gateway_breakers_open",
    "Deployments that are left alone after failures: 1 while they are.",
    ("deployment",),
    multiprocess_mode="livemax",
)
BREAKERS_OPENED = Counter(
    "portico_gateway_breakers_opened", "Times that a deployment was left alone after failures.", ("provider", "reason")
)
IN_FLIGHT = Gauge("portico_gateway_in_flight", "Calls being answered now.", multiprocess_mode="livesum")
JOURNAL_LAG_SECONDS = Gauge(
    "portico_gateway_journal_lag_seconds",
    "Age of the oldest ended call whose usage is not in the database yet.",
    multiprocess_mode="livemax",
)
JOURNAL_LAG_BYTES = Gauge(
    "portico_gateway_journal_lag_bytes",
    "Bytes of the journal that are not in the database yet.",
    multiprocess_mode="livesum",
)
JOURNAL_REJECTED = Counter("portico_gateway_journal_rejected", "Usage records that the database will never take.")
CACHE_LOOKUPS = Counter(
    "portico_gateway_cache_lookups", "Calls that the cache was asked for, by what it did.", ("state",)
)
CACHE_SAVED = Counter("portico_gateway_cache_saved_micros", "What hits of the cache spared, in millionths of a dollar.")
GUARD_HITS = Counter(
    "portico_gateway_guard_hits",
    "What guardrails found in prompts and answers.",
    ("detector", "kind", "mode", "direction"),
)
LIMITER_ERRORS = Counter("portico_gateway_limiter_errors", "Times that limits could not be checked in Redis.")
BUDGET_ERRORS = Counter("portico_gateway_budget_errors", "Times that budgets could not be asked for in the database.")
BUDGET_OVERRUNS = Counter("portico_gateway_budget_overruns", "Calls that cost more than had been reserved for them.")


class CallMetrics(NamedTuple):
    """The counters of one model at one provider with one outcome."""

    requests: Counter
    latency: Histogram
    first_token: Histogram
    prompt_tokens: Counter
    completion_tokens: Counter
    cost: Counter


@lru_cache(maxsize=4096)
def metrics_of(model: str, provider: str, status: str) -> CallMetrics:
    """Return the counters to move when a call ends."""
    return CallMetrics(
        requests=REQUESTS.labels(model, provider, status),
        latency=LATENCY.labels(model, provider, status),
        first_token=FIRST_TOKEN.labels(model, provider, status),
        prompt_tokens=TOKENS.labels(model, provider, "prompt"),
        completion_tokens=TOKENS.labels(model, provider, "completion"),
        cost=COST.labels(model, provider),
    )
