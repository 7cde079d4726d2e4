"""Name conversations: once, after the first answer that came to its end, by a model on the asker's account.

The web process that answered asks, as it answers: calls to models are made where the gateway's journal, limits and budget
leases are held. What asks claims the conversation first, so that nobody pays twice; a process that is killed in the middle
leaves the title that was derived from the first words.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from apps.conversations.choices import MessageRole, TitleOrigin
from apps.conversations.errors import TextInvalid, TextTooLong
from apps.conversations.events import ConversationTitled
from apps.conversations.models import TITLE_LENGTH, Conversation, Run
from apps.conversations.runtime.database import in_database
from apps.conversations.runtime.desk import Desk, LocalRun
from apps.conversations.runtime.wire import GROWN, announce
from apps.conversations.selectors.messages import build_prompt
from apps.conversations.selectors.outline import outline_of
from apps.conversations.services.texts import check_text
from apps.core.actor import Actor
from apps.core.context import bound
from apps.core.ids import encode_id
from apps.events.services import publish
from apps.gateway.choices import AnalysisMethod
from apps.gateway.services.analysis import Title, make_title

logger = structlog.get_logger(__name__)

ENDPOINT = "conversations.title"
BY_MODEL = "model"
# A title needs the beginnings only; a pasted book would make it as dear as its answer.
LONGEST_TURN = 2000


def begin_title(desk: Desk, run: LocalRun) -> None:
    """Have the conversation of a completed run named, behind its answer's back. Does nothing where words name them."""
    if settings.CHAT_TITLES != BY_MODEL:
        return
    task = desk.titles[run.id] = desk.spawn(_name(run.actor, run.id))

    def tell(_: object) -> None:
        desk.titles.pop(run.id, None)
        desk.ring([run.id])
        announce(desk, GROWN, {run.id})

    task.add_done_callback(tell)


async def _name(actor: Actor, run_id: UUID) -> None:
    with bound(actor=actor):
        try:
            turns = await in_database(claim_title, run_id=run_id)
            if turns:
                title = await make_title(actor=actor, source=turns, endpoint=ENDPOINT)
                await in_database(settle_title, actor=actor, run_id=run_id, title=title)
        except Exception:
            # Whatever it is, the answer is complete and the conversation has a name.
            logger.exception("title_failed", run=encode_id(Run.ID_PREFIX, run_id))


@transaction.atomic
def claim_title(*, run_id: UUID) -> list[dict[str, Any]]:
    """Return the beginnings of what a run's conversation begins with; nothing unless it is the caller's to name.

    It is when its title is still of its first words and no model was asked. Nobody gets it a second time.
    """
    run = Run.objects.filter(id=run_id).first()
    if run is None:
        return []
    mine = Conversation.objects.alive().filter(id=run.conversation_id, title_origin=TitleOrigin.WORDS)
    if not mine.update(title_origin=TitleOrigin.ASKED):
        return []
    spoken = build_prompt(outline_of(run.conversation_id), run.message_id)
    return [
        {**turn, "content": turn["content"][:LONGEST_TURN]}
        for turn in spoken
        if turn["role"] != MessageRole.SYSTEM.value
    ]


@transaction.atomic
def settle_title(*, actor: Actor, run_id: UUID, title: Title) -> bool:
    """Give the claimed conversation of a run the title that a model made; tell whether it has it now.

    A title that somebody gave it meanwhile stays, and so do the first words when no model answered.
    """
    mine = Conversation.objects.alive().locked().filter(runs=run_id, title_origin=TitleOrigin.ASKED)
    conversation = mine.first()
    if conversation is None:
        return False
    text = _clean(title)
    if not text or text == conversation.title:
        mine.update(title_origin=TitleOrigin.KEPT)
        return False
    conversation.title = text
    conversation.title_origin = TitleOrigin.MODEL
    conversation.touch("title", "title_origin")
    publish(
        ConversationTitled(
            aggregate_id=conversation.id,
            organization_id=conversation.organization_id,
            model=title.model,
            cost_micros=title.cost_micros,
        ),
        actor=actor,
    )
    return True


def _clean(title: Title) -> str:
    """Return a model's title in one line; "" for what no model made or what cannot be stored."""
    if title.method != AnalysisMethod.MODEL:
        return ""
    try:
        return check_text(" ".join(title.text.split()), field="title", limit=TITLE_LENGTH)
    except (TextInvalid, TextTooLong):
        return ""
