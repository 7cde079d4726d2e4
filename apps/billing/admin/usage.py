"""The usage explorer: what was used, by two respects, as a chart, a table and CSV."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse

from apps.billing.choices import UsageGroup
from apps.billing.forms import MEASURES, ExplorerForm
from apps.billing.models import UsageHour
from apps.billing.selectors.exporting import write_usage
from apps.billing.selectors.usage import OF_TIME, UsageLine, UsageQuery, UsageSummary, usage_summary
from apps.billing.views import draw_usage, percent_of
from apps.core.actor import system_actor
from apps.core.admin import ReadOnlyModelAdmin
from apps.core.money import show_money

MOST_LINES = 500
MOST_CELLS = 20_000
BY_HOUR = timedelta(days=3)


@admin.register(UsageHour)
class UsageExplorer(ReadOnlyModelAdmin):
    """One page in place of a list: nobody looks at single hours."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """Answer the page, or the same as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET.copy()
        asked.setdefault("period", "30")
        asked.setdefault("by", UsageGroup.MODEL.value)
        form = ExplorerForm(asked)
        query: UsageQuery | None = form.cleaned_data["query"] if form.is_valid() else None
        if query is not None and request.GET.get("format") == "csv":
            return self._answer_csv(query)
        asked.pop("format", None)
        context = {
            **self.admin_site.each_context(request),
            "title": "Usage explorer",
            "opts": self.opts,
            "form": form,
            "csv": f"?{asked.urlencode()}&format=csv",
            **(self._explore(query, form.cleaned_data.get("show") or "cost") if query is not None else {}),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "billing/admin/explorer.html", context)

    def _explore(self, query: UsageQuery, measure: str) -> dict[str, Any]:
        everyone = system_actor()
        found = usage_summary(query, actor=everyone, most=MOST_LINES)
        bucket = UsageGroup.HOUR if query.until - query.since <= BY_HOUR else UsageGroup.DAY
        respect = next((by for by in query.group_by if by not in OF_TIME), None)
        stacked = UsageQuery(
            since=query.since,
            until=query.until,
            group_by=(bucket, respect) if respect else (bucket,),
            filters=query.filters,
            currency=query.currency,
        )
        series = usage_summary(stacked, actor=everyone, most=MOST_CELLS)
        names = [str(UsageGroup(by).label) for by in query.group_by]
        return {
            "found": found,
            "names": names,
            "lines": [_shown(line, found) for line in found.lines],
            "total_cost": show_money(found.totals.cost_micros),
            "most": MOST_LINES,
            "has_tags": UsageGroup.TAG in query.group_by,
            "chart": draw_usage(series, 1, measure, bucket.value),
            "chart_title": f"{dict(MEASURES)[measure]} per {bucket.value}"
            + (f" and {_in_a_sentence(str(UsageGroup(respect).label))}" if respect else ""),
        }

    def _answer_csv(self, query: UsageQuery) -> StreamingHttpResponse:
        name = f"usage-{query.since:%Y-%m-%d}-{'-'.join(query.group_by)}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        lines = write_usage(query, actor=system_actor())
        return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


def _in_a_sentence(label: str) -> str:
    return label if label[:2].isupper() else label.lower()


def _shown(line: UsageLine, whole: UsageSummary) -> dict[str, Any]:
    return {
        "names": [value.label or value.key or "none" for value in line.groups],
        "totals": line.totals,
        "cost": show_money(line.totals.cost_micros),
        "percent": percent_of(line.totals, whole.totals),
    }
