"""The admin's front page and its navigation (named in settings.UNFOLD)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.formats import number_format

from apps.admin_panel.selectors import Dashboard, read_dashboard
from apps.billing.selectors.usage import UsagePoint

# Sections in the order in which staff asks: who, what they said, what it cost, how it is wired.
SECTIONS: list[tuple[str, list[tuple[str, str, str]]]] = [
    (
        "People",
        [
            ("users.User", "Users", "person"),
            ("users.Organization", "Organizations", "domain"),
            ("users.Membership", "Memberships", "group"),
            ("users.Team", "Teams", "groups"),
            ("users.TeamMembership", "Team members", "group_add"),
            ("auth.Group", "Staff groups", "shield_person"),
        ],
    ),
    (
        "Access",
        [
            ("users.ApiKey", "API keys", "key"),
            ("users.UserSession", "Sessions", "devices"),
            ("users.RefreshToken", "Refresh tokens", "autorenew"),
            ("users.MailedLink", "Mailed links", "link"),
            ("users.OAuthClient", "OAuth clients", "hub"),
            ("oauth2_provider.AccessToken", "OAuth access tokens", "token"),
        ],
    ),
    (
        "Conversations",
        [
            ("conversations.Conversation", "Conversations", "forum"),
            ("conversations.Message", "Messages", "chat_bubble"),
            ("conversations.ConversationSummary", "Summaries", "summarize"),
            ("conversations.Run", "Running answers", "bolt"),
            ("conversations.AnsweringProcess", "Answering processes", "memory"),
        ],
    ),
    (
        "Gateway",
        [
            ("gateway.Model", "Models", "smart_toy"),
            ("gateway.Deployment", "Deployments", "route"),
            ("gateway.Provider", "Providers", "cloud"),
            ("gateway.HealthState", "Health", "monitor_heart"),
            ("gateway.Alias", "Aliases", "label"),
            ("gateway.RoutingRule", "Routing rules", "alt_route"),
            ("gateway.Limit", "Rate limits", "speed"),
            ("gateway.CachePolicy", "Cache", "cached"),
            ("gateway.GuardPolicy", "Guardrails", "shield"),
            ("gateway.GuardHit", "Guardrail hits", "policy"),
            ("billing.Budget", "Budgets", "savings"),
            ("billing.Price", "Prices", "sell"),
            ("gateway.StoredResponse", "Stored responses", "inventory_2"),
            ("gateway.RespondingProcess", "Responding processes", "memory"),
        ],
    ),
    (
        "Usage and books",
        [
            ("billing.UsageHour", "Usage explorer", "query_stats"),
            ("billing.UsageRecord", "Usage records", "receipt_long"),
            ("billing.LedgerAccount", "Ledger accounts", "account_balance"),
            ("billing.LedgerTransaction", "Ledger transactions", "swap_horiz"),
            ("billing.Posting", "Postings", "format_list_numbered"),
            ("billing.Repricing", "Repricings", "price_change"),
            ("billing.Adjustment", "Adjustments", "tune"),
            ("billing.Reconciliation", "Reconciliations", "fact_check"),
            ("billing.ReconciliationLine", "Reconciliation lines", "checklist"),
        ],
    ),
    (
        "Integrations",
        [
            ("integrations.WebhookEndpoint", "Webhook endpoints", "webhook"),
            ("integrations.WebhookDelivery", "Webhook deliveries", "outgoing_mail"),
        ],
    ),
    (
        "Evidence and upkeep",
        [
            ("audit.TrailEntry", "Audit trail", "policy"),
            ("events.Event", "Events", "event_note"),
            ("events.Delivery", "Outbox", "move_to_inbox"),
            ("django_celery_beat.PeriodicTask", "Schedules", "schedule"),
        ],
    ),
]


def build_navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar: sections with the registered models that this member of staff may see."""
    registered = {model._meta.label: model_admin for model, model_admin in admin.site._registry.items()}
    front = {"title": "Dashboard", "icon": "dashboard", "link": reverse("admin:index")}
    playground = {"title": "Playground", "icon": "experiment", "link": reverse("playground")}
    running = {"title": "Running calls", "icon": "graphic_eq", "link": reverse("running-calls")}
    sections: list[dict[str, Any]] = [{"title": "", "items": [front, running, playground]}]
    for title, entries in SECTIONS:
        items = [
            {"title": name, "icon": icon, "link": link}
            for label, name, icon in entries
            if label in registered and registered[label].has_view_permission(request) and (link := _changelist(label))
        ]
        if items:
            sections.append({"title": title, "separator": True, "collapsible": False, "items": items})
    return sections


def _changelist(label: str) -> str:
    app, model = label.lower().split(".")
    try:
        return reverse(f"admin:{app}_{model}_changelist")
    except NoReverseMatch:
        return ""


def build_dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the dashboard's figures and charts to the admin's front page."""
    found = read_dashboard()
    context.update(
        {
            "title": "Dashboard",
            "figures": _figures(found),
            "dead_deliveries": found.dead_deliveries,
            "hour_charts": _charts(found.hours, "%H:00"),
            "day_charts": _charts(found.days, "%-d %b"),
        }
    )
    return context


def _figures(found: Dashboard) -> list[dict[str, str]]:
    today, before = found.today, found.yesterday
    rate = f"{100 * today.errors / today.requests:.1f} % of requests" if today.requests else "no requests"
    return [
        {"title": "Requests", "value": number_format(today.requests, force_grouping=True), "note": _change(today.requests, before.requests)},
        {"title": "Tokens", "value": number_format(today.total_tokens, force_grouping=True), "note": _change(today.total_tokens, before.total_tokens)},
        {"title": "Cost", "value": _money(today.cost), "note": _change(today.cost_micros, before.cost_micros)},
        {"title": "Errors", "value": number_format(today.errors, force_grouping=True), "note": rate},
        {"title": "Latency, 95th percentile", "value": "–" if found.p95_ms is None else f"{found.p95_ms:,} ms", "note": "of successful requests"},
        {"title": "Active users", "value": number_format(found.active_users, force_grouping=True), "note": "made a request"},
    ]  # fmt: skip


def _money(amount: Decimal) -> str:
    """Return dollars with cents, or with all six places where cents would hide that something was spent."""
    return f"${amount:,.6f}" if 0 < amount < Decimal("0.01") else f"${amount:,.2f}"


def _change(now: int, before: int) -> str:
    if not before:
        return "nothing the day before" if not now else "none the day before"
    percent = round(100 * (now - before) / before)
    return f"{'+' if percent > 0 else '−' if percent < 0 else '±'}{abs(percent)} % on the day before"


def _charts(points: list[UsagePoint], form: str) -> list[dict[str, str]]:
    labels = [point.at.strftime(form) for point in points]
    series: list[tuple[str, list[int] | list[float]]] = [
        ("Requests", [point.totals.requests for point in points]),
        ("Tokens", [point.totals.total_tokens for point in points]),
        ("Cost (USD)", [float(point.totals.cost) for point in points]),
        ("Errors", [point.totals.errors for point in points]),
    ]
    return [
        {
            "title": name,
            "summary": f"{number_format(round(sum(values), 6), force_grouping=True)} in all",
            "data": json.dumps(
                {
                    "labels": labels,
                    "datasets": [{"label": name, "data": values, "backgroundColor": "var(--color-primary-600)"}],
                }
            ),
        }
        for name, values in series
    ]
