"""Policies as data, for tests of what is made of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.gateway.choices import GuardDetector, GuardMode
from apps.gateway.guards import pii, secrets
from apps.gateway.guards.rules import PolicyTerms

FIRST = UUID("018f1c1e-0000-7000-8000-000000000001")
SECOND = UUID("018f1c1e-0000-7000-8000-000000000002")


def make_policy(
    policy_id: UUID = FIRST,
    *,
    input: dict[str, str] | None = None,
    output: dict[str, str] | None = None,
    **settings: Any,
) -> PolicyTerms:
    """Return a policy that does what is named by detector, in prompts and in answers, and nothing else."""
    wanted = {
        name: (GuardMode((input or {}).get(name, "off")), GuardMode((output or {}).get(name, "off")))
        for name in GuardDetector.values
    }
    kinds = {
        "pii_kinds": frozenset(pii.KINDS) - {"name"},
        "secret_kinds": frozenset(secrets.KINDS) - secrets.OPTIONAL_KINDS,
    }
    return PolicyTerms(id=policy_id, modes=wanted, **{**kinds, **settings})
