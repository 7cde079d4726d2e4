"""Summaries, titles, tags and topics."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from apps.core.actor import Actor
from apps.gateway.services.analysis.asking import ENDPOINT, Source, ask_model, read_content, read_source
from apps.gateway.services.analysis.extracting import extract_keywords, extract_summary, extract_title
from apps.gateway.services.analysis.findings import Summary, Tags, Title, Topic, Topics
from apps.gateway.services.analysis.tokens import shorten

TITLE_LENGTH = 60
TAG_LENGTH = 40
TITLE_SOURCE = 4_000
"""Characters that the built-in title is looked for in: it is the beginning's."""
TOPIC_LENGTH = 80
NO_TITLE = "Untitled"

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Form(BaseModel):
    """A form that says no to fields it does not have, as strict structured output asks."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class SummaryForm(_Form):
    summary: Line


class TitleForm(_Form):
    title: Line


class TagsForm(_Form):
    tags: list[Line] = Field(min_length=1)


class WeightedTopic(_Form):
    name: Line
    weight: float = Field(ge=0, le=1)


class TopicsForm(_Form):
    topics: list[WeightedTopic] = Field(min_length=1)


async def summarize(
    *,
    actor: Actor,
    source: Source,
    model: str = "",
    max_words: int = 120,
    endpoint: str = ENDPOINT,
    without_model: bool = False,
) -> Summary:
    """Say in at most about `max_words` words what a text or conversation says, in its own language.

    Like every analysis: metered on the actor's account, as endpoint `analysis` unless the caller names its own; what no
    model answers is found without one (`method` says which, `reason` and `error` why). `without_model` asks for the
    built-in method only. Raise ModelUnknown or ModelUnsuited for a named `model` that the actor cannot use.
    """
    text = read_source(source)
    instruction = f"Summarize the text in at most {max_words} words, in the language of the text. Add nothing to it."
    asked = await ask_model(
        actor=actor,
        model=model,
        instruction=instruction,
        text=text,
        form=SummaryForm,
        answer_tokens=max_words * 4 + 200,
        endpoint=endpoint,
        without_model=without_model,
    )
    if asked.form is not None:
        return Summary(text=asked.form.summary, **asked.origin())
    found = await asyncio.to_thread(extract_summary, text, max_words=max_words)
    return Summary(text=found, **asked.origin())


async def make_title(
    *,
    actor: Actor,
    source: Source,
    model: str = "",
    length: int = TITLE_LENGTH,
    endpoint: str = ENDPOINT,
    without_model: bool = False,
) -> Title:
    """Name a text or conversation in at most `length` characters, in its own language. See `summarize`."""
    text = read_source(source if isinstance(source, str) else source[:4])
    instruction = (
        f"Give the text a title of 2 to 7 words and at most {length} characters, in the language of the text, "
        "without quotation marks and without a full stop."
    )
    asked = await ask_model(
        actor=actor,
        model=model,
        instruction=instruction,
        text=text,
        form=TitleForm,
        answer_tokens=200,
        endpoint=endpoint,
        without_model=without_model,
    )
    if asked.form is not None:
        title = asked.form.title.strip("\"'“”„«»` ").rstrip(".") or NO_TITLE
        return Title(text=shorten(title, length), **asked.origin())
    return Title(text=extract_title(_first_words(source)[:TITLE_SOURCE], length=length) or NO_TITLE, **asked.origin())


async def suggest_tags(
    *,
    actor: Actor,
    source: Source,
    model: str = "",
    limit: int = 5,
    endpoint: str = ENDPOINT,
    without_model: bool = False,
) -> Tags:
    """Return up to `limit` tags for a text or conversation. See `summarize`."""
    text = read_source(source)
    instruction = (
        f"Suggest up to {limit} tags for filing the text: lower case, one to three words each, the best first, "
        "in the language of the text."
    )
    asked = await ask_model(
        actor=actor,
        model=model,
        instruction=instruction,
        text=text,
        form=TagsForm,
        answer_tokens=300,
        endpoint=endpoint,
        without_model=without_model,
    )
    if asked.form is not None:
        return Tags(tags=_clean_tags(asked.form.tags, limit), **asked.origin())
    found = await asyncio.to_thread(extract_keywords, text, limit=limit)
    return Tags(tags=_clean_tags([phrase for phrase, _ in found], limit), **asked.origin())


async def find_topics(
    *,
    actor: Actor,
    source: Source,
    model: str = "",
    limit: int = 5,
    endpoint: str = ENDPOINT,
    without_model: bool = False,
) -> Topics:
    """Return up to `limit` topics of a text or conversation, the weightiest first. See `summarize`."""
    text = read_source(source)
    instruction = f"Name up to {limit} topics that the text is about, in its language, each with its share of the text from 0 to 1."
    asked = await ask_model(
        actor=actor,
        model=model,
        instruction=instruction,
        text=text,
        form=TopicsForm,
        answer_tokens=400,
        endpoint=endpoint,
        without_model=without_model,
    )
    if asked.form is not None:
        weighed = sorted(
            ((shorten(topic.name, TOPIC_LENGTH), topic.weight) for topic in asked.form.topics),
            key=lambda pair: -pair[1],
        )[:limit]
    else:
        weighed = await asyncio.to_thread(extract_keywords, text, limit=limit)
    total = sum(weight for _, weight in weighed)
    shares = tuple(Topic(name, round(weight / total, 4) if total else 0.0) for name, weight in weighed)
    return Topics(topics=shares, **asked.origin())


def _first_words(source: Source) -> str:
    """Return what the first person to speak said; of a text, all of it."""
    if isinstance(source, str):
        return source
    return next((read_content(message.get("content")) for message in source if message.get("role") == "user"), "")


def _clean_tags(tags: list[str], limit: int) -> tuple[str, ...]:
    cleaned = (shorten(tag.lower().strip("# "), TAG_LENGTH) for tag in tags)
    return tuple(dict.fromkeys(tag for tag in cleaned if tag))[:limit]
