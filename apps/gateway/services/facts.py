"""What is known of a call before it is made: what limits, budgets, rules and usage records go by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from apps.gateway.providers.tokens import estimate_prompt

MAX_END_USER = 128
MAX_TAGS = 10
TAG = re.compile(r"^[A-Za-z0-9_.:/-]{1,64}$")


@dataclass(frozen=True, slots=True)
class CallFacts:
    """One call in figures and names.

    `model` is the name asked for; `end_user` whom the caller acts for, by its own name, or ""; `prompt_tokens` an estimate;
    `answer_tokens` the bound that the caller set, times its choices, or None.
    """

    model: str
    end_user: str
    tags: tuple[str, ...]
    prompt_tokens: int
    answer_tokens: int | None


def gather_facts(request: dict[str, Any], *, model: str, tags: tuple[str, ...] = ()) -> CallFacts:
    """Return the facts of a canonical request; `tags` are those given beside it."""
    end_user = request.get("user") or request.get("safety_identifier")
    metadata = request.get("metadata")
    given = metadata.get("tags") if isinstance(metadata, dict) else None
    return CallFacts(
        model=model,
        end_user=clean_text(end_user)[:MAX_END_USER] if isinstance(end_user, str) else "",
        tags=merge_tags(tags, read_tags(given)) if given or tags else (),
        prompt_tokens=estimate_prompt(request),
        answer_tokens=bound_answer(request),
    )


def bound_answer(request: dict[str, Any]) -> int | None:
    """Return the most tokens that a request lets its answers have; None when it does not say.

    With both names the larger counts, as servers differ in which of them they heed.
    """
    bound = max(int(request.get("max_completion_tokens") or 0), int(request.get("max_tokens") or 0))
    return bound * int(request.get("n") or 1) if bound else None


def read_tags(given: Any) -> tuple[str, ...]:
    """Return the tags of a list or a comma-separated text; what cannot be a tag is left out."""
    if isinstance(given, str):
        given = given.split(",")
    if not isinstance(given, list):
        return ()
    return tuple(tag.strip() for tag in given if isinstance(tag, str) and TAG.match(tag.strip()))


def merge_tags(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Return both without repetition, at most MAX_TAGS."""
    return tuple(dict.fromkeys(first + second))[:MAX_TAGS]


def clean_text(text: str) -> str:
    """Return a text that JSON and the database take: no half surrogates, no NUL."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()
