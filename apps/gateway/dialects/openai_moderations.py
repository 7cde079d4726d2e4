"""OpenAI's moderations: what is asked, and the built-in classifier's answer in its shape."""

from __future__ import annotations

from typing import Any

from apps.gateway.dialects.openai_checks import TEXT, wrong_type
from apps.gateway.errors import ModelUnknown, ParameterInvalid, ParameterMissing
from apps.gateway.guards.moderation import CATEGORIES, Classification

BUILT_IN = "portico-moderation"
DEFAULT_MODEL = "omni-moderation-latest"
OPENAI_PREFIXES = ("omni-moderation", "text-moderation")
MAX_INPUTS = 256
APPLIED = {category: ["text"] for category in CATEGORIES}


def is_built_in(model: str) -> bool:
    """Tell whether the built-in classifier is asked for. Raise ModelUnknown for what is no model of moderation."""
    if model == BUILT_IN:
        return True
    if not model.startswith(OPENAI_PREFIXES):
        raise ModelUnknown(
            f"Model {model[:200]!r} does not moderate; use {BUILT_IN}, or OpenAI's {DEFAULT_MODEL}.", param="model"
        )
    return False


def read_moderation(body: dict[str, Any]) -> list[str]:
    """Return the texts to judge, one for each result. Raise ParameterMissing or ParameterInvalid.

    Parts of text and image are one input; what a picture shows is judged by a provider's model only.
    """
    if body.get("model") is not None:
        TEXT(body["model"], "model")
    given = body.get("input")
    if given is None:
        raise ParameterMissing("Send what to judge in `input`.", param="input")
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        raise wrong_type("input", "a string, or an array of strings or of parts", given)
    if len(given) > MAX_INPUTS:
        raise ParameterInvalid(f"`input` has {len(given)} items; at most {MAX_INPUTS} are accepted.", param="input")
    if all(isinstance(item, str) for item in given):
        return list(given)
    return ["\n".join(text for at, part in enumerate(given) if (text := _text_of(part, at)))]


def describe_results(found: list[Classification]) -> list[dict[str, Any]]:
    """Return a result for each classification."""
    return [
        {
            "flagged": one.flagged,
            "categories": dict(one.categories),
            "category_scores": dict(one.scores),
            "category_applied_input_types": APPLIED,
        }
        for one in found
    ]


def _text_of(part: Any, at: int) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "image_url" and isinstance(part.get("image_url"), dict):
        return ""
    raise ParameterInvalid(
        f"`input[{at}]` has to be a text, or a part of the type text or image_url.", param=f"input[{at}]"
    )
