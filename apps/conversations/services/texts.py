"""Rules for the text that people and models write."""

from __future__ import annotations

import re

from apps.conversations.errors import TextInvalid, TextTooLong
from apps.conversations.models import TITLE_LENGTH

MAX_CHARACTERS = 400_000
TITLE_GOAL = 60
# Markdown that opens a line, and emphasis anywhere in it.
_DECORATION = re.compile(r"^[\s#>_\-+]+|[*`~]+|[\s_]+$")


def check_text(text: str, *, field: str = "content", limit: int = MAX_CHARACTERS) -> str:
    """Return the text if it can be stored. Raise TextInvalid or TextTooLong with the field's name."""
    if not text.strip():
        raise TextInvalid(f"{field}: write something.", errors={field: ["Write something."]})
    if len(text) > limit:
        message = f"At most {limit} characters; these are {len(text)}."
        raise TextTooLong(f"{field}: {message}", errors={field: [message]})
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        message = "NUL characters and lone surrogates cannot be stored."
        raise TextInvalid(f"{field}: {message}", errors={field: [message]})
    return text


def clean_delta(text: str) -> str:
    """Return a model's text without what Postgres cannot store."""
    return text.replace("\x00", "")


def derive_title(content: str) -> str:
    """Return a title for a conversation that begins so: its first line in words, at most 60 characters."""
    lines = (_DECORATION.sub("", line) for line in content.splitlines())
    first = " ".join(next((line for line in lines if line), content.strip()).split())
    if len(first) <= TITLE_GOAL:
        return first[:TITLE_LENGTH]
    head = first[:TITLE_GOAL].rsplit(" ", 1)[0] if " " in first[:TITLE_GOAL] else first[: TITLE_GOAL - 1]
    return f"{head.rstrip(' ,;:.–-')}…"
