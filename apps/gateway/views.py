"""Pages of the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import groupby
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import close_old_connections
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from apps.core.actor import Actor
from apps.core.api.problems import describe, problem_response
from apps.core.errors import DependencyDown, InvalidInput
from apps.gateway.choices import EntityKind
from apps.gateway.dialects.base import PING_SECONDS
from apps.gateway.forms import AnalysisForm
from apps.gateway.services.analysing import Analysed, analyse_text
from apps.gateway.services.analysis import LONGEST_SOURCE, Entities, Finding
from apps.gateway.services.running import list_running_calls, stop_running_call

SEE_CALLS = "billing.view_usagerecord"
STOP_CALLS = "gateway.change_deployment"
PING = b": ping\n\n"
ORIGIN_FIELDS = frozenset(Finding.__dataclass_fields__)
"""How something was found; the other fields of a finding are what was."""


@ensure_csrf_cookie
def show_playground(request: HttpRequest) -> HttpResponseBase:
    """Show staff the playground: calls made there are ordinary calls of the person who makes them."""
    context = {**_playground_context(request), "records_url": reverse("admin:billing_usagerecord_changelist")}
    return TemplateResponse(request, "gateway/playground.html", context)


@ensure_csrf_cookie
def show_analysis(request: HttpRequest) -> HttpResponseBase:
    """Show staff the playground's other way: what the services of analysis find in a text."""
    context = {
        **_playground_context(request),
        "form": AnalysisForm(),
        "longest": LONGEST_SOURCE,
        "longest_in_words": f"{LONGEST_SOURCE:,}",
    }
    return TemplateResponse(request, "gateway/analysis.html", context)


@require_POST
def stream_analysis(request: HttpRequest) -> HttpResponseBase:
    """Analyse a text on account of who asks, and answer event by event as each analysis is ready.

    The events are `analysis.done` for each, and `run.done` with the sum of the costs. What the form refuses is answered
    400 as a problem.
    """
    form = AnalysisForm(request.POST)
    if not form.is_valid():
        errors = {field: [str(sentence) for sentence in sentences] for field, sentences in form.errors.items()}
        return problem_response(InvalidInput("Nothing was analysed.", errors=errors), request)
    events = _stream_analyses(request.actor, form.cleaned_data)  # type: ignore[attr-defined]
    return StreamingHttpResponse(events, content_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _playground_context(request: HttpRequest) -> dict[str, Any]:
    return {
        **admin.site.each_context(request),
        "title": "Playground",
        "is_fullwidth": True,
        "has_organization": request.actor.organization_id is not None,  # type: ignore[attr-defined]
    }


async def _stream_analyses(actor: Actor, wanted: dict[str, Any]) -> AsyncIterator[bytes]:
    # The middleware's connection would otherwise stay with the request as long as the models think.
    await sync_to_async(close_old_connections)()
    cost = 0
    async with aclosing(analyse_text(actor=actor, **wanted)) as results:  # type: ignore[type-var]
        reading: asyncio.Future[Analysed | None] | None = None
        try:
            while True:
                reading = reading or asyncio.ensure_future(anext(results, None))
                done, _ = await asyncio.wait({reading}, timeout=PING_SECONDS)
                if not done:
                    yield PING
                    continue
                result, reading = reading.result(), None
                if result is None:
                    break
                cost += result.finding.cost_micros if result.finding is not None else 0
                yield _write_event("analysis.done", _describe_analysed(result, actor.request_id))
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
    yield _write_event("run.done", {"cost_micros": cost})


def _write_event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))


def _describe_analysed(result: Analysed, request_id: str) -> dict[str, Any]:
    finding = result.finding
    error = result.error or (finding.error if finding is not None else None)
    return {
        "analysis": result.analysis,
        "latency_ms": result.latency_ms,
        "method": finding.method if finding is not None else None,
        "model": finding.model if finding is not None else "",
        "cost_micros": finding.cost_micros if finding is not None else 0,
        "reason": finding.reason if finding is not None else None,
        "reason_in_words": finding.reason.label if finding is not None and finding.reason is not None else "",
        "error": describe(error, request_id) if error is not None else None,
        "finding": _describe_finding(finding) if finding is not None else None,
    }


def _describe_finding(finding: Finding) -> dict[str, Any]:
    if isinstance(finding, Entities):
        by_kind = groupby(
            sorted(finding.entities, key=lambda one: list(EntityKind).index(one.kind)), lambda one: one.kind
        )
        return {"kinds": [{"kind": kind.label, "names": [one.text for one in group]} for kind, group in by_kind]}
    return {name: getattr(finding, name) for name in finding.__dataclass_fields__ if name not in ORIGIN_FIELDS}


playground = admin.site.admin_view(show_playground)
playground_analysis = admin.site.admin_view(show_analysis)
run_analysis = admin.site.admin_view(stream_analysis)


@ensure_csrf_cookie
def show_running_calls(request: HttpRequest) -> HttpResponseBase:
    """Show staff what runs now; with `?part` only the table, which the page asks for every two seconds."""
    if not request.user.has_perm(SEE_CALLS):
        raise PermissionDenied
    context: dict[str, Any] = {"may_stop": request.user.has_perm(STOP_CALLS), "failure": ""}
    try:
        context["calls"], context["count"] = list_running_calls()
    except DependencyDown as error:
        context |= {"calls": [], "count": 0, "failure": error.message}
    if "part" in request.GET:
        return TemplateResponse(request, "gateway/running_part.html", context)
    context |= {**admin.site.each_context(request), "title": "Running calls", "is_fullwidth": True}
    return TemplateResponse(request, "gateway/running.html", context)


@require_POST
def stop_call(request: HttpRequest, call_id: str) -> HttpResponseBase:
    """End a running call and show the list again."""
    if not request.user.has_perm(STOP_CALLS):
        raise PermissionDenied
    try:
        stop_running_call(call_id=call_id, actor=request.actor)  # type: ignore[attr-defined]
    except InvalidInput as error:
        raise Http404(error.message) from error
    except DependencyDown as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"{call_id} was told to stop.")
    return redirect("running-calls")


running_calls = admin.site.admin_view(show_running_calls)
stop_running = admin.site.admin_view(stop_call)
