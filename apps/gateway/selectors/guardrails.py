"""Which guardrail policies bind a caller, put together and compiled."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from apps.gateway.choices import GuardDetector, GuardDirection, GuardMode
from apps.gateway.guards import pii, secrets
from apps.gateway.guards.rules import PolicyTerms, Rules
from apps.gateway.models import GuardBinding, GuardPolicy
from apps.gateway.selectors.bound import Bound

DEFAULT_PII_KINDS = frozenset(pii.KINDS) - {"name"}
MOST_INTERNED = 512


@dataclass(frozen=True, slots=True)
class GuardTerms:
    """The policies that bind a caller. Callers that the same policies bind share one object.

    `fingerprint` names their present versions: what was found under others, a cached answer for one, is not theirs.
    """

    fingerprint: str
    input: Rules = field(repr=False)
    output: Rules = field(repr=False)


_lock = threading.Lock()
_interned: OrderedDict[str, GuardTerms] = OrderedDict()


def guard_terms_of(bound: Bound) -> GuardTerms | None:
    """Return what a caller's prompts and answers are looked through for; None for nothing. One query."""
    bindings = (
        GuardBinding.objects.binding(
            organization_id=bound.organization_id,
            team_ids=bound.team_ids,
            api_key_id=bound.api_key.id if bound.api_key is not None else None,
        )
        .select_related("policy")
        .order_by("policy_id")
    )
    policies = {binding.policy_id: binding.policy for binding in bindings}
    return compile_policies(list(policies.values()))


def compile_policies(policies: list[GuardPolicy]) -> GuardTerms | None:
    """Return policies as one set of rules; None when they look for nothing. Raise ExpressionInvalid, re.error."""
    if not policies:
        return None
    versions = sorted(f"{policy.id}:{policy.updated_at.timestamp() if policy.updated_at else 0}" for policy in policies)
    fingerprint = hashlib.sha256("\n".join(versions).encode()).hexdigest()[:32]
    with _lock:
        known = _interned.get(fingerprint)
    if known is None:
        known = compile_terms([describe_policy(policy) for policy in policies], fingerprint=fingerprint)
        with _lock:
            _interned[fingerprint] = known
            while len(_interned) > MOST_INTERNED:
                _interned.popitem(last=False)
    return None if known.input.is_empty and known.output.is_empty else known


def compile_terms(policies: list[PolicyTerms], *, fingerprint: str = "") -> GuardTerms:
    """Return the rules that policies make together, without remembering them."""
    return GuardTerms(fingerprint, Rules(policies, GuardDirection.INPUT), Rules(policies, GuardDirection.OUTPUT))


def describe_policy(policy: GuardPolicy) -> PolicyTerms:
    """Return a policy as data."""
    return PolicyTerms(
        id=policy.id,
        modes={
            name: (GuardMode(getattr(policy, f"{name}_input")), GuardMode(getattr(policy, f"{name}_output")))
            for name in GuardDetector.values
        },
        pii_kinds=frozenset(policy.pii_kinds) or DEFAULT_PII_KINDS,
        secret_kinds=frozenset(secrets.KINDS) - (frozenset() if policy.finds_random_text else secrets.OPTIONAL_KINDS),
        injection_threshold=policy.injection_threshold,
        moderation_thresholds=policy.moderation_thresholds,
        moderation_model=policy.moderation_model,
        topics_allow=policy.topics_allow,
        topics_deny=policy.topics_deny,
        max_prompt_characters=policy.max_prompt_characters,
        max_answer_characters=policy.max_answer_characters,
        is_reversible=policy.is_reversible,
        own_patterns=policy.own_patterns,
        own_words=tuple(policy.own_words),
    )
