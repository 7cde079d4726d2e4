"""What is known of a call before it is made."""

from __future__ import annotations

import httpx
import pytest

from apps.gateway.services.facts import CallFacts, gather_facts, merge_tags, read_tags

MESSAGES = [{"role": "user", "content": "Hello"}]


def test_a_bare_request_has_a_prompt_and_nothing_else() -> None:
    facts = gather_facts({"messages": MESSAGES}, model="m")
    assert facts == CallFacts(model="m", end_user="", tags=(), prompt_tokens=facts.prompt_tokens, answer_tokens=None)
    assert facts.prompt_tokens > 0


@pytest.mark.parametrize(
    ("fields", "bound"),
    [({"max_tokens": 10}, 10), ({"max_completion_tokens": 7, "max_tokens": 10}, 10), ({"max_tokens": 10, "n": 3}, 30)],
)
def test_the_answer_is_bound_by_all_its_choices(fields: dict[str, int], bound: int) -> None:
    assert gather_facts({"messages": MESSAGES, **fields}, model="m").answer_tokens == bound


@pytest.mark.parametrize(
    ("fields", "end_user"),
    [
        ({"user": "ann"}, "ann"),
        ({"safety_identifier": "bob"}, "bob"),
        ({"user": "ann", "safety_identifier": "bob"}, "ann"),
        ({"user": "x" * 200}, "x" * 128),
        ({"user": "a\0b \ud800"}, "ab ?"),
        ({"user": 5}, ""),
    ],
)
def test_whom_the_caller_acts_for(fields: dict[str, object], end_user: str) -> None:
    assert gather_facts({"messages": MESSAGES, **fields}, model="m").end_user == end_user


@pytest.mark.parametrize(
    ("given", "tags"),
    [("a, b", ("a", "b")), (["a", 5, "no space"], ("a",)), (7, ()), ("x" * 65, ()), ("", ())],
)
def test_tags_are_a_list_or_a_text(given: object, tags: tuple[str, ...]) -> None:
    assert read_tags(given) == tags


def test_tags_of_header_and_body_come_together_once() -> None:
    request = {"messages": MESSAGES, "metadata": {"tags": "team:red,beta"}}
    assert gather_facts(request, model="m", tags=("beta", "web")).tags == ("beta", "web", "team:red")
    assert len(merge_tags(tuple(f"a{n}" for n in range(8)), tuple(f"b{n}" for n in range(8)))) == 10


@pytest.mark.parametrize("given", ["a b", "ok,what?", ",".join(f"t{n}" for n in range(11))])
async def test_a_header_with_something_else_is_refused(http: httpx.AsyncClient, secret: str, given: str) -> None:
    answer = await http.post(
        "/v1/chat/completions",
        headers={"Authorization": f"Bearer {secret}", "x-portico-tags": given},
        json={"model": "sandbox-small", "messages": MESSAGES},
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-portico-tags")
