"""Summarize a conversation by a model on the asker's account, and keep the summary."""

from __future__ import annotations

import asyncio
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from apps.conversations.errors import NothingToSummarize
from apps.conversations.events import ConversationSummarized
from apps.conversations.models import ConversationSummary
from apps.conversations.runtime.database import in_database
from apps.conversations.runtime.desk import current_desk
from apps.conversations.selectors.summaries import Material, find_material, read_material
from apps.conversations.services.conversations import lock_conversation
from apps.conversations.services.texts import clean_delta
from apps.core.actor import Actor
from apps.core.context import bound
from apps.events.services import publish
from apps.gateway.choices import AnalysisMethod
from apps.gateway.services.analysis import Summary, summarize

ENDPOINT = "conversations.summary"


async def summarize_conversation(*, actor: Actor, conversation_id: UUID) -> Material:
    """Return a conversation's material with a summary of it: the stored one while nothing is new, else another.

    What no model answered is told in the conversation's own sentences; asking again asks a model again. A caller that
    leaves stops nothing, and those who ask at once share one call of the process. Raise NotFound, NothingToSummarize.
    """
    material = await in_database(find_material, actor=actor, conversation_id=conversation_id, with_texts=True)
    if not material.messages:
        raise NothingToSummarize("Nothing has been said here yet that could be summarized.")
    if material.stored is not None and not material.is_outdated and material.stored.method == AnalysisMethod.MODEL:
        return material
    desk = current_desk()
    key = (conversation_id, material.digest)
    task = desk.summaries.get(key)
    if task is None:
        task = desk.summaries[key] = desk.spawn(_summarize(actor, material))
        task.add_done_callback(lambda _: desk.summaries.pop(key, None))
    await asyncio.shield(task)
    return await in_database(find_material, actor=actor, conversation_id=conversation_id)


async def _summarize(actor: Actor, material: Material) -> None:
    with bound(actor=actor):
        summary = await summarize(actor=actor, source=material.messages, endpoint=ENDPOINT)
        await in_database(store_summary, actor=actor, material=material, summary=summary)


@transaction.atomic
def store_summary(*, actor: Actor, material: Material, summary: Summary) -> ConversationSummary:
    """Keep a summary of some material in place of the one before; return the one that is kept.

    A stored one of what the conversation says now gives way only to a model's, and never a model's. Raise NotFound when
    the conversation is gone.
    """
    conversation = lock_conversation(actor=actor, conversation_id=material.conversation_id)
    present = read_material(conversation, with_texts=False)
    stored = present.stored
    if stored is not None and not present.is_outdated:
        is_better = summary.method == AnalysisMethod.MODEL and stored.method != AnalysisMethod.MODEL
        if not is_better or material.digest != present.digest:
            return stored
    kept, _ = ConversationSummary.objects.update_or_create(
        conversation=conversation,
        defaults={
            "last_message_id": material.message_ids[-1],
            "message_count": len(material.message_ids),
            "digest": material.digest,
            "text": clean_delta(summary.text),
            "method": summary.method,
            "model": summary.model,
            "cost_micros": summary.cost_micros,
            "made_at": timezone.now(),
        },
    )
    publish(
        ConversationSummarized(
            aggregate_id=conversation.id,
            organization_id=conversation.organization_id,
            message_id=kept.last_message_id,
            message_count=kept.message_count,
            method=str(summary.method.value),
            model=kept.model,
            cost_micros=kept.cost_micros,
            characters=len(kept.text),
        ),
        actor=actor,
    )
    return kept
