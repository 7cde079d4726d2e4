"""Sentiment, entities and moderation."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel, ConfigDict, Field, field_validator

from apps.core.actor import Actor
from apps.gateway.choices import EntityKind, SentimentLabel
from apps.gateway.guards.moderation import CATEGORIES, classify, judge_scores
from apps.gateway.services.analysis.asking import ENDPOINT, Source, ask_model, read_source
from apps.gateway.services.analysis.findings import Entities, Entity, Moderation, Sentiment
from apps.gateway.services.analysis.lexicon import score_sentiment
from apps.gateway.services.analysis.patterns import MOST_ENTITIES, find_patterns


class SentimentForm(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    label: SentimentLabel
    score: float = Field(ge=-1, le=1)


class NamedEntity(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: EntityKind
    text: str = Field(min_length=1)


class EntitiesForm(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    entities: list[NamedEntity]


class ScoredCategory(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str = Field(json_schema_extra={"enum": list(CATEGORIES)})
    score: float = Field(ge=0, le=1)

    @field_validator("name")
    @classmethod
    def know_the_category(cls, name: str) -> str:
        """Refuse categories of the model's own making."""
        if name not in CATEGORIES:
            raise ValueError("there is no such category")
        return name


class ModerationForm(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    categories: list[ScoredCategory]


async def judge_sentiment(
    *, actor: Actor, source: Source, model: str = "", endpoint: str = ENDPOINT, without_model: bool = False
) -> Sentiment:
    """Tell how a text or conversation judges what it is about. See `summarize`."""
    text = read_source(source)
    instruction = (
        "Judge the sentiment of the text's author: a label, and a score from -1 (very negative) to 1 (very positive). "
        "`mixed` is for texts that praise and blame in about equal parts."
    )
    asked = await ask_model(
        actor=actor,
        model=model,
        instruction=instruction,
        text=text,
        form=SentimentForm,
        answer_tokens=200,
        endpoint=endpoint,
        without_model=without_model,
    )
    if asked.form is not None:
        return Sentiment(label=asked.form.label, score=asked.form.score, **asked.origin())
    label, score = await asyncio.to_thread(score_sentiment, text)
    return Sentiment(label=label, score=score, **asked.origin())


async def extract_entities(
    *, actor: Actor, source: Source, model: str = "", endpoint: str = ENDPOINT, without_model: bool = False
) -> Entities:
    """Return the people, organizations, places, dates, amounts and addresses that a text names. See `summarize`."""
    text = read_source(source)
    instruction = "List what the text names, each thing once, written exactly as in the text, in the order of the text."
    asked = await ask_model(
        actor=actor,
        model=model,
        instruction=instruction,
        text=text,
        form=EntitiesForm,
        answer_tokens=2000,
        endpoint=endpoint,
        without_model=without_model,
    )
    if asked.form is not None:
        # A model invents names; what is not in the text is none of its entities.
        named = [(entity.kind, entity.text) for entity in asked.form.entities if entity.text in text]
    else:
        named = await asyncio.to_thread(find_patterns, text)
    unique = list(dict.fromkeys(named))[:MOST_ENTITIES]
    return Entities(entities=tuple(Entity(kind, name) for kind, name in unique), **asked.origin())


async def moderate(
    *, actor: Actor, source: Source, model: str = "", endpoint: str = ENDPOINT, without_model: bool = False
) -> Moderation:
    """Tell whether a text or conversation is objectionable, by OpenAI's categories. See `summarize`.

    The built-in classifier has a say in any case: of its score and the model's the higher counts.
    """
    text = read_source(source)
    built_in = await asyncio.to_thread(classify, text)
    instruction = (
        "Judge whether the text is objectionable. List each category that applies at all, with a score from 0 (harmless) "
        "to 1 (certain); leave the others out. A text that reports on or asks for help against something is harmless."
    )
    asked = await ask_model(
        actor=actor,
        model=model,
        instruction=instruction,
        text=text,
        form=ModerationForm,
        answer_tokens=500,
        endpoint=endpoint,
        without_model=without_model,
    )
    scores = dict(built_in.scores)
    for found in asked.form.categories if asked.form is not None else ():
        scores[found.name] = max(scores[found.name], found.score)
    judged = judge_scores(scores)
    flagged = tuple(name for name, is_flagged in judged.categories.items() if is_flagged)
    return Moderation(is_flagged=judged.flagged, categories=flagged, scores=scores, **asked.origin())
