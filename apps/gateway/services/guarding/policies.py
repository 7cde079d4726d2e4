"""Guardrail policies: saved, deleted, applied and lifted. They hold for the next call of every process."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from apps.core.actor import Actor
from apps.core.errors import ExpressionInvalid
from apps.events.services import publish
from apps.gateway.choices import GuardDirection, GuardMode
from apps.gateway.errors import GuardPolicyInvalid
from apps.gateway.events import GuardPolicyBound, GuardPolicyChanged, GuardPolicyDeleted
from apps.gateway.guards import pii
from apps.gateway.guards.moderation import CATEGORIES
from apps.gateway.guards.own import MOST_STEPS, NAME, PatternUnsafe, check_pattern
from apps.gateway.guards.topic_costs import check_costs
from apps.gateway.guards.topics import VOCABULARY
from apps.gateway.models import GuardBinding, GuardPolicy
from apps.users.services.announcing import PLATFORM_ID, announce_identity_change

MOST_PATTERNS = 50
MOST_STEPS_TOGETHER = 2 * MOST_STEPS
"""Ways in which one place of a text may be tried by all patterns of a policy."""
MOST_WORDS = 1_000
Errors = dict[str, list[str]]


@transaction.atomic
def save_guard_policy(*, policy: GuardPolicy, actor: Actor, fields: tuple[str, ...] = ()) -> GuardPolicy:
    """Store a new policy, or the named `fields` of one that exists. Raise GuardPolicyInvalid, naming the fields."""
    errors = check_guard_policy(policy)
    if errors:
        raise _invalid(errors)
    is_new = policy._state.adding
    policy.save(update_fields=None if is_new else [*fields, "updated_at"])
    publish(
        GuardPolicyChanged(
            aggregate_id=policy.id,
            organization_id=policy.organization_id,
            is_new=is_new,
            fields=tuple(sorted(fields)),
        ),
        actor=actor,
    )
    for binding in GuardBinding.objects.filter(policy=policy):
        _announce(binding)
    return policy


@transaction.atomic
def delete_guard_policy(*, policy: GuardPolicy, actor: Actor) -> None:
    """Take a policy away, wherever it applies."""
    bindings = list(GuardBinding.objects.filter(policy=policy).select_related("team", "api_key"))
    policy_id, organization_id = policy.id, policy.organization_id
    if GuardPolicy.objects.filter(id=policy_id).delete()[0]:
        publish(
            GuardPolicyDeleted(aggregate_id=policy_id, organization_id=organization_id, bindings=len(bindings)),
            actor=actor,
        )
        for binding in bindings:
            _announce(binding)


@transaction.atomic
def bind_guard_policy(*, binding: GuardBinding, actor: Actor) -> GuardBinding:
    """Let a policy apply to an organization, a team, a key or everybody. Raise GuardPolicyInvalid.

    An organization's policy binds nobody but its own teams and keys.
    """
    try:
        binding.full_clean()
    except ValidationError as error:
        raise _invalid(_texts_of(error)) from error
    owner = binding.policy.organization_id
    if owner is not None and owner != organization_of(binding):
        raise _invalid({"policy": ["It belongs to another organization than what it would bind."]})
    binding.save()
    _publish_binding(binding, actor=actor, is_bound=True)
    _announce(binding)
    return binding


@transaction.atomic
def unbind_guard_policy(*, binding: GuardBinding, actor: Actor) -> None:
    """Let a policy no longer apply there."""
    if GuardBinding.objects.filter(id=binding.id).delete()[0]:
        _publish_binding(binding, actor=actor, is_bound=False)
        _announce(binding)


def check_guard_policy(policy: GuardPolicy) -> Errors:
    """Return what is wrong with a policy, by field."""
    errors: Errors = {}
    try:
        policy.full_clean()
    except ValidationError as error:
        errors = _texts_of(error)
    unknown = sorted(set(policy.pii_kinds) - set(pii.KINDS))
    if unknown:
        _add(errors, "pii_kinds", f"There is no kind {unknown[0]!r}; there are {', '.join(pii.KINDS)}.")
    for detector in ("topics", "lengths"):
        for direction in GuardDirection.values:
            if getattr(policy, f"{detector}_{direction}") == GuardMode.MASK:
                _add(
                    errors,
                    f"{detector}_{direction}",
                    "This has no place in the text that could be masked: log or block.",
                )
    for name in ("topics_allow", "topics_deny"):
        if getattr(policy, name):
            try:
                VOCABULARY.compile(getattr(policy, name))
                check_costs(getattr(policy, name))
            except ExpressionInvalid as error:
                _add(errors, name, error.message)
    _check_thresholds(policy.moderation_thresholds, errors)
    _check_patterns(policy.own_patterns, errors)
    if len(policy.own_words) > MOST_WORDS or not all(word.strip() for word in policy.own_words):
        _add(errors, "own_words", f"At most {MOST_WORDS} words, none of them empty.")
    return errors


def organization_of(binding: GuardBinding) -> Any:
    """Return the id of the organization that a binding is within; None for everybody."""
    subject = binding.team or binding.api_key
    return subject.organization_id if subject is not None else binding.organization_id


def _check_thresholds(thresholds: Any, errors: Errors) -> None:
    if not isinstance(thresholds, dict):
        _add(errors, "moderation_thresholds", "Give scores by category, as an object.")
        return
    for category, score in thresholds.items():
        if category not in CATEGORIES:
            _add(errors, "moderation_thresholds", f"There is no category {category!r}.")
        elif isinstance(score, bool) or not isinstance(score, int | float) or not 0 < score <= 1:
            _add(errors, "moderation_thresholds", f"{category}: a score is above 0 and at most 1.")


def _check_patterns(patterns: Any, errors: Errors) -> None:
    if not isinstance(patterns, dict) or len(patterns) > MOST_PATTERNS:
        _add(errors, "own_patterns", f"Give at most {MOST_PATTERNS} patterns by name, as an object.")
        return
    steps = 0
    for name, source in patterns.items():
        if not NAME.match(name) or name == "words" or not isinstance(source, str):
            _add(errors, "own_patterns", f"{name!r}: a name has small letters, digits and _, and a pattern is a text.")
            continue
        try:
            steps += check_pattern(source)
        except PatternUnsafe as error:
            _add(errors, "own_patterns", f"{name}: {error}.")
    if steps > MOST_STEPS_TOGETHER:
        _add(errors, "own_patterns", "Together the patterns have too many repeats; use smaller bounds.")


def _publish_binding(binding: GuardBinding, *, actor: Actor, is_bound: bool) -> None:
    publish(
        GuardPolicyBound(
            aggregate_id=binding.policy_id,
            organization_id=organization_of(binding),
            is_bound=is_bound,
            team_id=binding.team_id,
            api_key_id=binding.api_key_id,
        ),
        actor=actor,
    )


def _announce(binding: GuardBinding) -> None:
    organization_id = organization_of(binding)
    if organization_id is None:
        announce_identity_change(kind="platform", id=PLATFORM_ID)
    else:
        announce_identity_change(kind="organization", id=organization_id)


def _texts_of(error: ValidationError) -> Errors:
    return {name: [str(text) for text in texts] for name, texts in error.message_dict.items()}


def _add(errors: Errors, name: str, text: str) -> None:
    errors.setdefault(name, []).append(text)


def _invalid(errors: Errors) -> GuardPolicyInvalid:
    return GuardPolicyInvalid("; ".join(text for texts in errors.values() for text in texts), errors=errors)
