"""The trail on other houses' staff pages."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import template
from django.db.models import Model
from django.urls import reverse

from apps.audit.selectors import describe_actor, list_differences, trail_of
from apps.users.models import User

register = template.Library()
SHOWN = 50


@register.inclusion_tag("audit/object_trail.html", takes_context=True)
def object_trail(context: dict[str, Any], instance: Model) -> dict[str, Any]:
    """Show the newest entries of an object's trail, with a link to all, to staff who may see the trail."""
    if not context["request"].user.has_perm("audit.view_trailentry"):
        return {"is_allowed": False}
    entries = list(trail_of(instance)[: SHOWN + 1])
    ids = {entry.actor["user_id"] for entry in entries if "user_id" in entry.actor}
    emails = {str(pk): email for pk, email in User.objects.filter(pk__in=ids).values_list("pk", "email")}
    shown = [
        {
            "entry": entry,
            "actor": describe_actor(entry.actor, email=emails.get(entry.actor.get("user_id", ""), "")),
            "differences": list_differences(entry),
            "url": reverse("admin:audit_trailentry_change", args=[entry.pk]),
        }
        for entry in entries[:SHOWN]
    ]
    query = {"object": str(instance.pk)}
    if not isinstance(instance.pk, UUID):  # numbers are only unique within their table
        query["type"] = instance._meta.db_table
    return {
        "is_allowed": True,
        "shown": shown,
        "is_more": len(entries) > SHOWN,
        "all_url": reverse("admin:audit_trailentry_changelist", query=query),
    }
