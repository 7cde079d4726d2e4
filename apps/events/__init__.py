"""Events: the append-only store of facts, the outbox that delivers them, and the memory of idempotent requests.

Owns `publish`, `subscribe`, the relay and its sweeps. Refuses to know what any fact means: houses declare their events,
and whoever is further up the street listens.
"""
