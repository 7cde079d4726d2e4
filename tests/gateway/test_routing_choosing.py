"""What names mean, what keys permit, what rules and clients may change: no bypass of a key's list of models."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from apps.core.errors import AppError
from apps.gateway.choices import RuleAction
from apps.gateway.errors import (
    CallRefusedByRule,
    ModelUnknown,
    ModelUnsuited,
    ParameterInvalid,
    RuleTargetMissing,
)
from apps.gateway.providers.failures import Failure
from apps.gateway.selectors import Caller, Snapshot
from apps.gateway.selectors.routing import NO_FALLBACKS, AliasEntry, Fallbacks
from apps.gateway.services.routing import Choice, Wishes, choose_model, explain_route, resolve_name, take_wishes
from apps.gateway.services.routing.rules import RuleFacts, has_images, judge_rule
from tests.support.routing import (
    ORGANIZATION,
    OTHER_ORGANIZATION,
    Alone,
    caller,
    facts,
    model,
    route,
    rule,
    snapshot,
)

SMALL = model("small", route("s1", provider="openai"), route("s2", provider="azure"))
LARGE = model("large", route("l1", provider="openai"))
ALIASES = [
    (None, AliasEntry("fast", "small", Fallbacks(general=("large",)))),
    (ORGANIZATION, AliasEntry("ours", "large", NO_FALLBACKS)),
    (ORGANIZATION, AliasEntry("fast", "large", NO_FALLBACKS)),
    (None, AliasEntry("small", "large", NO_FALLBACKS)),
    (None, AliasEntry("gone", "withdrawn", NO_FALLBACKS)),
]


def choose(table: Snapshot, who: Caller, name: str, *, request: dict[str, Any] | None = None, **fields: Any) -> Choice:
    wishes = fields.pop("wishes", Wishes())
    now = fields.pop("now", None)
    return choose_model(
        table, who, request or {"model": name}, facts=facts(name, **fields), kind="chat", wishes=wishes, now=now
    )


@pytest.mark.parametrize(
    ("allowed", "name", "organization", "found"),
    [
        ((), "small", ORGANIZATION, "small"),
        ((), "fast", ORGANIZATION, "large"),
        ((), "fast", OTHER_ORGANIZATION, "small"),
        ((), "ours", ORGANIZATION, "large"),
        ((), "ours", OTHER_ORGANIZATION, None),
        ((), "gone", ORGANIZATION, None),
        ((), "absent", ORGANIZATION, None),
        (("large",), "fast", ORGANIZATION, "large"),
        (("small",), "fast", ORGANIZATION, None),
        (("fast",), "fast", ORGANIZATION, "large"),
        (("fast",), "large", ORGANIZATION, None),
        (("small",), "small", ORGANIZATION, "small"),
        (("large",), "small", ORGANIZATION, None),
    ],
)
def test_a_name_means_a_model_only_to_those_who_may_use_either(
    allowed: tuple[str, ...], name: str, organization: Any, found: str | None
) -> None:
    named = resolve_name(snapshot(SMALL, LARGE, aliases=ALIASES), caller(*allowed, organization_id=organization), name)
    assert (named and named.entry.info.name) == found


@pytest.mark.parametrize(
    ("allowed", "name", "deployments"),
    [
        ((), "openai/small", ["s1"]),
        ((), "azure/small", ["s2"]),
        ((), "azure/large", None),
        ((), "nobody/small", None),
        (("small",), "openai/small", ["s1"]),
        (("openai/small",), "openai/small", ["s1"]),
        (("openai/small",), "small", None),
        (("openai/small",), "azure/small", None),
        (("large",), "openai/small", None),
    ],
)
def test_a_provider_may_be_named_before_the_model(
    allowed: tuple[str, ...], name: str, deployments: list[str] | None
) -> None:
    named = resolve_name(snapshot(SMALL, LARGE), caller(*allowed), name)
    assert (named and [way.deployment_id for way in named.entry.routes]) == deployments


def test_a_models_own_name_may_hold_a_slash() -> None:
    named = resolve_name(snapshot(SMALL, model("openai/small", route("x"))), caller(), "openai/small")
    assert named is not None
    assert [way.deployment_id for way in named.entry.routes] == ["x"]


def test_what_is_forbidden_looks_like_what_is_not_there() -> None:
    table = snapshot(SMALL, LARGE, aliases=ALIASES)
    messages = []
    for name in ("large", "nowhere"):
        with pytest.raises(ModelUnknown) as refused:
            choose(table, caller("small"), name)
        messages.append(refused.value.message.replace(name, "*"))
    assert messages[0] == messages[1]


def test_a_model_has_to_be_able_to_do_it() -> None:
    with pytest.raises(ModelUnsuited):
        choose_model(snapshot(SMALL), caller(), {}, facts=facts("small"), kind="embeddings")


@pytest.mark.parametrize(("allowed", "stand_ins"), [((), ["large"]), (("small", "large"), ["large"]), (("small",), [])])
def test_a_models_fallbacks_are_bound_to_the_key(allowed: tuple[str, ...], stand_ins: list[str]) -> None:
    table = snapshot(model("small", fallbacks=Fallbacks(general=("absent", "large", "small"))), LARGE)
    choice = choose(table, caller(*allowed), "small")
    assert [entry.info.name for entry in choice.stand_ins()] == stand_ins


def test_a_key_for_an_alias_may_use_the_fallbacks_that_the_alias_lists_and_no_others() -> None:
    small = model("small", fallbacks=Fallbacks(content=("large",)))
    table = snapshot(small, LARGE, aliases=[(None, AliasEntry("quick", "small", Fallbacks(general=("large",))))])
    by_alias, by_target = (choose(table, caller(allowed), "quick") for allowed in ("quick", "small"))
    assert [entry.info.name for entry in by_alias.stand_ins()] == ["large"]
    assert by_alias.stand_ins(Failure.CONTENT) == [LARGE], "the alias's own list names it"
    assert by_target.stand_ins() == []
    assert (by_alias.permitted_by, by_target.permitted_by) == ("quick", "small")


def test_each_kind_of_failure_has_its_own_list() -> None:
    lists = Fallbacks(general=("a",), context=("b",), content=("c",))
    choice = choose(snapshot(model("m", fallbacks=lists), *(model(name) for name in "abc")), caller(), "m")
    names = [[entry.info.name for entry in choice.stand_ins(kind)] for kind in (None, Failure.CONTEXT, Failure.CONTENT)]
    assert names == [["a"], ["b"], ["c"]]


def test_a_fallback_has_to_hold_the_prompt() -> None:
    lists = Fallbacks(context=("short", "long"))
    table = snapshot(model("m", window=100, fallbacks=lists), model("short", window=200), model("long", window=1000))
    choice = choose(table, caller(), "m", prompt_tokens=500)
    assert choice.is_too_long
    assert [entry.info.name for entry in choice.stand_ins(Failure.CONTEXT)] == ["long"]


# What the client says


def test_a_clients_wishes_are_taken_out_of_the_request() -> None:
    request = {"model": "m", "fallbacks": ["a", {"model": "b"}], "disable_fallbacks": False}
    native = {"model": "m", "fallbacks": ["a"], "disable_fallbacks": False}
    assert take_wishes(request, native) == Wishes(("a", "b"), disables_fallbacks=False)
    assert request == native == {"model": "m"}
    assert take_wishes({}, None, disables_fallbacks=True) == Wishes((), disables_fallbacks=True)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"fallbacks": "a"}, "fallbacks"),
        ({"fallbacks": ["m"] * 11}, "fallbacks"),
        ({"fallbacks": ["a", 1]}, "fallbacks[1]"),
        ({"fallbacks": [{"name": "a"}]}, "fallbacks[0]"),
        ({"fallbacks": [""]}, "fallbacks[0]"),
        ({"disable_fallbacks": "yes"}, "disable_fallbacks"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(given: dict[str, Any], param: str) -> None:
    with pytest.raises(ParameterInvalid) as refused:
        take_wishes(given, None)
    assert refused.value.param == param


def test_a_client_names_fallbacks_among_what_it_may_use() -> None:
    table = snapshot(model("small", fallbacks=Fallbacks(general=("other",))), LARGE, model("other"))
    choice = choose(table, caller(), "small", wishes=Wishes(("large",)))
    assert [entry.info.name for entry in choice.stand_ins()] == ["large"], "instead of those that are configured"
    assert [entry.info.name for entry in choice.stand_ins(Failure.CONTEXT)] == ["large"]
    with pytest.raises(ModelUnknown) as refused:
        choose(table, caller("small"), "small", wishes=Wishes(("small", "large")))
    assert refused.value.param == "fallbacks[1]"


def test_a_client_may_do_without_fallbacks() -> None:
    table = snapshot(model("small", fallbacks=Fallbacks(("large",), ("large",), ("large",))), LARGE)
    choice = choose(table, caller(), "small", wishes=Wishes(("large",), disables_fallbacks=True))
    assert [choice.stand_ins(kind) for kind in (None, Failure.CONTEXT, Failure.CONTENT)] == [[], [], []]


# Rules


NOON = datetime(2026, 7, 6, 12, 30, tzinfo=UTC)
REQUEST: dict[str, Any] = {
    "model": "small",
    "stream": True,
    "tools": [{}],
    "metadata": {"customer": "acme", "level": 3},
    "messages": [{"role": "user", "content": [{"type": "text"}, {"type": "image_url"}]}],
}


@pytest.mark.parametrize(
    "condition",
    [
        "model == 'small' && 'batch' in tags",
        "organization.startsWith('org_') && user.startsWith('user_') && key.startsWith('key_') && team == ''",
        "prompt_tokens == 700 && answer_tokens == 50",
        "stream && has_tools && has_images",
        "metadata.customer == 'acme' && !has(metadata.level)",
        "hour == 12 && minute == 30 && weekday == 1",
        "end_user == ''",
    ],
)
def test_a_rule_sees_the_call(condition: str) -> None:
    table = snapshot(SMALL, LARGE, rules=[rule(condition, target="large")])
    choice = choose(
        table, caller(), "small", request=REQUEST, now=NOON, prompt_tokens=700, answer_tokens=50, tags=("batch",)
    )
    assert choice.entry is LARGE
    assert (choice.asked, choice.rule) == ("small", table.routing.rules[0])


def test_a_rule_reads_the_clock_of_its_time_zone() -> None:
    seen = RuleFacts(facts("small"), caller(), {}, now=NOON)
    berlin = rule("hour == 14 && weekday == 1", zone=ZoneInfo("Europe/Berlin"))
    auckland = rule("hour == 0 && weekday == 2", zone=ZoneInfo("Pacific/Auckland"))
    utc = rule("hour == 12")
    assert [judge_rule(entry, seen, may_follow=bool).holds for entry in (berlin, auckland, utc, berlin)] == [True] * 4


def test_the_first_rule_that_holds_decides() -> None:
    rules = [
        rule("prompt_tokens > 100", target="large"),
        rule("true", target="other", id="rule_2"),
        rule("true", target="large", id="rule_3"),
    ]
    choice = choose(snapshot(SMALL, LARGE, model("other"), rules=rules), caller(), "small")
    assert choice.rule is rules[1]
    assert choice.entry.info.name == "other"


def test_a_rule_that_cannot_be_asked_is_passed_over_and_says_why() -> None:
    broken = rule("metadata.absent == 'x'", target="large")
    assert choose(snapshot(SMALL, LARGE, rules=[broken]), caller(), "small").rule is None
    assert "Key not found" in judge_rule(broken, RuleFacts(facts("small"), caller(), {}), may_follow=bool).failure


def test_a_rule_does_not_open_a_model_to_a_key_unless_it_says_so() -> None:
    plain, strong = rule("true", target="large"), rule("true", target="large", overrides_keys=True)
    assert choose(snapshot(SMALL, LARGE, rules=[plain]), caller("small"), "small").entry is SMALL
    assert choose(snapshot(SMALL, LARGE, rules=[plain]), caller("small", "large"), "small").entry is LARGE
    choice = choose(snapshot(SMALL, LARGE, rules=[strong]), caller("small"), "small")
    assert (choice.entry, choice.permitted_by) == (LARGE, "small")
    with pytest.raises(ModelUnknown):
        choose(snapshot(SMALL, LARGE, rules=[strong]), caller("small"), "large")


def test_a_rule_may_refuse() -> None:
    refusing = rule("true", action=RuleAction.REFUSE, message="Not at night.")
    with pytest.raises(CallRefusedByRule) as refused:
        choose(snapshot(SMALL, rules=[refusing]), caller("small"), "small")
    assert (refused.value.status, refused.value.message) == (403, "Not at night.")


def test_a_rule_may_name_deployments_and_fallbacks() -> None:
    table = snapshot(
        SMALL, LARGE, rules=[rule("true", deployments=frozenset({"s2"}), fallbacks=Fallbacks(general=("large",)))]
    )
    choice = choose(table, caller(), "small")
    assert [way.deployment_id for way in choice.entry.routes] == ["s2"]
    assert choice.stand_ins() == [LARGE]
    assert choose(table, caller("small"), "small").stand_ins() == []


@pytest.mark.parametrize("fields", [{"target": "withdrawn"}, {"target": "small", "deployments": frozenset({"absent"})}])
def test_a_rule_without_its_target_lets_the_call_go_nowhere_else(fields: dict[str, Any]) -> None:
    with pytest.raises(RuleTargetMissing) as refused:
        choose(snapshot(SMALL, rules=[rule("true", **fields)]), caller("small"), "small")
    assert isinstance(refused.value, AppError)
    assert (refused.value.status, refused.value.retry_after_seconds) == (503, 2)


@pytest.mark.parametrize(
    ("request_", "shows"),
    [
        ({}, False),
        ({"messages": "x"}, False),
        ({"messages": [1, {"content": "x"}, {"content": [1, {"type": "text"}]}]}, False),
        ({"messages": [{"content": [{"type": "image_url"}]}]}, True),
    ],
)
def test_pictures_are_noticed(request_: dict[str, Any], shows: bool) -> None:
    assert has_images(request_) is shows


# Explanations, for dry runs


def test_an_explanation_names_who_is_left_out_and_why() -> None:
    vectors = model("vectors")
    vectors = replace(vectors, info=replace(vectors.info, capabilities=("embeddings",)))
    lists = Fallbacks(general=("absent", "vectors", "m", "tiny"), context=("tiny", "long"))
    table = snapshot(model("m", window=100, fallbacks=lists), model("tiny", window=50), model("long"), vectors)
    alone = Alone()
    found = explain_route(table, caller(), {}, facts=facts("m", prompt_tokens=70), kind="chat", health=alone.health)
    assert (found.asked, found.model, found.strategy, found.refusal) == ("m", "m", "weighted", "")
    assert [(row.model, row.reason, row.left_out) for row in found.candidates] == [
        ("m", "", ""),
        ("long", "context_window", ""),
    ]
    assert found.notes == (
        "absent is left out: it is not offered, or the key may not use it.",
        "vectors is left out: it cannot be used for chat.",
        "m is left out: it is the model itself.",
        "tiny is left out: the prompt is too long for it as well.",
    )
    wishes = Wishes(("long",), disables_fallbacks=True)
    without = explain_route(table, caller(), {}, facts=facts("m"), kind="chat", health=alone.health, wishes=wishes)
    assert "long is no fallback: the client wants none." in without.notes
    assert len(without.candidates) == 1


def test_an_explanation_tells_a_refusal() -> None:
    found = explain_route(snapshot(SMALL), caller(), {}, facts=facts("absent"), kind="chat", health=Alone().health)
    assert (found.model, found.candidates) == ("", ())
    assert "'absent' does not exist" in found.refusal


def test_an_answer_that_is_there_already_comes_from_nowhere_else() -> None:
    choice = choose(snapshot(model("small", fallbacks=Fallbacks(general=("large",))), LARGE), caller(), "small")
    kept = route("cached", provider="cache")
    choice.use_only(kept)
    assert (choice.entry.routes, choice.stand_ins()) == ((kept,), [])
