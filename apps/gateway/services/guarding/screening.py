"""One call under guardrails: its prompt, looked through and changed, and its answer, filtered on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
import structlog

from apps.core.ids import uuid7
from apps.gateway.choices import GuardDirection
from apps.gateway.errors import ContentBlocked, ParameterInvalid
from apps.gateway.guards.rules import Rules
from apps.gateway.providers.base import Chunk, Completion
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.guard_hits import HitFacts, note_findings
from apps.gateway.selectors.callers import Caller
from apps.gateway.selectors.guardrails import GuardTerms
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.guarding.chunks import ChunkFilter
from apps.gateway.services.guarding.moderating import ask_moderation_model
from apps.gateway.services.guarding.placeholders import Vault
from apps.gateway.services.guarding.places import (
    TRUSTED_ROLES,
    Place,
    answer_places,
    asks_for_json,
    holds_tokens,
    replace_texts,
    request_places,
)
from apps.gateway.services.guarding.scanning import BREATH_CHARACTERS, find_politely, masking, replace_marks
from apps.gateway.services.guarding.verdicts import Findings, Judge, judge_topics

logger = structlog.get_logger(__name__)


async def screen_input(
    *, caller: Caller, request: dict[str, Any], facts: CallFacts, runtime: Runtime, request_id: UUID | None = None
) -> Screen | None:
    """Look a canonical request through; None where no policy applies to the caller.

    Raise ContentBlocked when a policy does not let it through, ParameterInvalid when it cannot be looked through. The
    request itself is not changed: what is to be sent is the screen's.
    """
    terms = caller.terms.guard
    if terms is None:
        return None
    screen = Screen(
        terms=terms, caller=caller, facts=facts, request=request, runtime=runtime, request_id=request_id or uuid7()
    )
    try:
        await screen.read_prompt()
    except ContentBlocked:
        screen.note()
        raise
    return screen


class Screen:
    """The guardrails of one call. `request` is what may be sent to a provider."""

    __slots__ = ("_caller", "_chunks", "_facts", "_findings", "_request_id", "_runtime", "_terms", "_vault", "has_changed", "request")  # fmt: skip

    def __init__(
        self,
        *,
        terms: GuardTerms,
        caller: Caller,
        facts: CallFacts,
        request: dict[str, Any],
        runtime: Runtime | None,
        request_id: UUID,
    ) -> None:
        self.request = request
        self.has_changed = False
        """Whether `request` is another than the caller's."""
        self._terms = terms
        self._caller = caller
        self._facts = facts
        self._runtime = runtime
        self._request_id = request_id
        self._vault = Vault()
        self._findings: Findings = Findings()
        self._chunks: ChunkFilter | None = None

    @property
    def filters_answers(self) -> bool:
        """Tell whether answers have to go through `filter` or `filter_completion`."""
        return not self._terms.output.is_empty or bool(self._vault.originals)

    @property
    def fingerprint(self) -> str:
        """Return what names the policies that apply: answers are not shared between callers of different ones."""
        return self._terms.fingerprint

    @property
    def findings(self) -> Findings:
        """Return what was found so far."""
        return self._findings

    async def read_prompt(self) -> None:
        """Look the prompt through. Raise ContentBlocked or ParameterInvalid."""
        rules = self._terms.input
        if rules.is_empty:
            return
        if holds_tokens(self.request):
            raise ParameterInvalid(
                "A guardrail policy applies to this key: send text, not numbers of tokens, so that it can be read.",
                param="input" if "input" in self.request else "prompt",
            )
        places = list(request_places(self.request))
        changed = await self._read(rules, GuardDirection.INPUT, places)
        if changed:
            self.request = replace_texts(self.request, changed)
            self.has_changed = True

    async def filter_completion(self, completion: Completion) -> Completion:
        """Return a whole answer as it may be passed on. Raise ContentBlocked."""
        if not self.filters_answers:
            return completion
        payload = completion.payload if completion.payload is not None else orjson.loads(completion.body or b"{}")
        places = list(answer_places(payload, is_json=asks_for_json(self.request)))
        changed = await self._read(self._terms.output, GuardDirection.OUTPUT, places)
        for place in places:
            text = changed.get(place.path, place.source)
            restored = self._vault.restore(text, is_json=place.json is not None)
            if restored != place.source:
                changed[place.path] = restored
        if not changed:
            return completion
        payload = drop_spoilt(replace_texts(payload, changed), changed)
        return Completion(
            body=None,
            payload=payload,
            usage=completion.usage,
            finish_reason=completion.finish_reason,
            upstream_request_id=completion.upstream_request_id,
        )

    def filter(self, batch: list[Chunk]) -> list[Chunk]:
        """Return what may be passed on of a streamed answer now. Raise ContentBlocked before what is blocked has gone."""
        if not self.filters_answers:
            return batch
        if self._chunks is None:
            self._chunks = ChunkFilter(
                rules=self._terms.output,
                findings=self._findings,
                vault=self._vault,
                facts=self._facts,
                is_json=asks_for_json(self.request),
            )
        return self._chunks.take(batch)

    def flush(self) -> list[Chunk]:
        """Return what is left at the end of a streamed answer. Raise ContentBlocked."""
        return self._chunks.close() if self._chunks is not None else []

    def note(self) -> None:
        """Hand over what was found to those who count. What was handed over is not handed over again."""
        if self._findings and self._runtime is not None:
            actor = self._caller.actor
            facts = HitFacts(
                request_id=self._request_id,
                model=self._facts.model,
                organization_id=actor.organization_id,
                team_id=self._caller.terms.team_id,
                user_id=actor.user_id,
                api_key_id=actor.api_key_id,
            )
            note_findings(self._findings, facts)
            self._findings.clear()

    async def _read(self, rules: Rules, direction: GuardDirection, places: list[Place]) -> dict[Any, str]:
        """Return the texts that change, by their place."""
        changed: dict[Any, str] = {}
        if rules.is_empty:
            return changed
        whole = "\n".join(place.text for place in places)
        judge = Judge(rules, direction, self._findings)
        self._judge_whole(rules, direction, places, whole, judge)
        await self._ask_models(rules, whole, judge)
        put = masking(self._vault, whole, is_reversible=self._is_reversible(direction))
        length = 0
        for place in places:
            length += len(place.text)
            if length > BREATH_CHARACTERS:
                length = 0
                await asyncio.sleep(0)
            hits = await find_politely(rules, place.text)
            if place.role in TRUSTED_ROLES:
                hits = [hit for hit in hits if hit.detector != "injection"]
            marks = Judge(rules, direction, self._findings).take(hits)
            if marks:
                json = place.json
                changed[place.path] = (
                    json.replace(place.text, marks, put, 0, len(place.text))
                    if json is not None
                    else replace_marks(place.text, marks, put)
                )
        return changed

    def _judge_whole(
        self, rules: Rules, direction: GuardDirection, places: list[Place], whole: str, judge: Judge
    ) -> None:
        for bound in rules.bounds:
            if len(whole) > bound.characters:
                kind = "prompt_too_long" if direction is GuardDirection.INPUT else "answer_too_long"
                judge.note(bound.action, "lengths", kind)
        if rules.topics:
            said = "\n".join(place.text for place in places if place.role not in TRUSTED_ROLES)
            judge_topics(rules, judge, said, direction=direction, facts=self._facts)

    async def _ask_models(self, rules: Rules, whole: str, judge: Judge) -> None:
        if self._runtime is None:
            return
        for model in rules.moderation_models:
            scores = await ask_moderation_model(model, whole, runtime=self._runtime)
            for category, action in rules.judge_scores(scores, model=model).items():
                judge.note(action, "moderation", category)

    def _is_reversible(self, direction: GuardDirection) -> bool:
        return direction is GuardDirection.INPUT and self._terms.input.is_reversible


def drop_spoilt(payload: dict[str, Any], changed: Mapping[Any, str]) -> dict[str, Any]:
    """Return an answer without what no longer fits its changed texts: log probabilities, signatures of thoughts."""
    choices = list(payload.get("choices") or ())
    for index in {path[1] for path in changed if path[0] == "choices"}:
        choice = dict(choices[index])
        choice.pop("logprobs", None)
        message = choice.get("message")
        if isinstance(message, dict) and message.get("thinking_blocks"):
            spoilt = {path[4] for path in changed if path[1] == index and path[3:4] == ("thinking_blocks",)}
            blocks = [block for place, block in enumerate(message["thinking_blocks"]) if place not in spoilt]
            choice["message"] = {**message, "thinking_blocks": blocks}
        choices[index] = choice
    return {**payload, "choices": choices}
