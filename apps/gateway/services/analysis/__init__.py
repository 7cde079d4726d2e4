"""Services on the gateway: what a text says, is called, is about, names and feels like.

Each asks a model in structured form, checks what comes, and does without one where it must.
"""

from apps.gateway.services.analysis.asking import LONGEST_SOURCE, Source
from apps.gateway.services.analysis.describing import find_topics, make_title, suggest_tags, summarize
from apps.gateway.services.analysis.findings import (
    Entities,
    Entity,
    Finding,
    Moderation,
    Sentiment,
    Summary,
    Tags,
    Title,
    Topic,
    Topics,
)
from apps.gateway.services.analysis.judging import extract_entities, judge_sentiment, moderate

__all__ = [
    "LONGEST_SOURCE",
    "Entities",
    "Entity",
    "Finding",
    "Moderation",
    "Sentiment",
    "Source",
    "Summary",
    "Tags",
    "Title",
    "Topic",
    "Topics",
    "extract_entities",
    "find_topics",
    "judge_sentiment",
    "make_title",
    "moderate",
    "suggest_tags",
    "summarize",
]
