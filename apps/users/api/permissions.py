"""What a caller of /api/v3 may do: the scope and the role that the view's method states."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.core.errors import NotAuthenticated
from apps.users.choices import RANK
from apps.users.errors import RoleTooLow, ScopeMissing

SAFE = {"GET", "HEAD", "OPTIONS"}
# What concerns only oneself needs no organization.
NO_ROLE = "none"


class HasScope(BasePermission):
    """Ask for the scope of the method (`view.scopes`) and for the role (`view.roles`).

    Where a view states no role, viewers read and members write; "none" asks for none.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if view.is_open:
            return True
        if not request.user or not request.user.is_authenticated:
            raise NotAuthenticated("Send an API key or access token as `Authorization: Bearer …`, or log in.")
        method = request.method or ""
        if method == "OPTIONS":
            return True
        stated = "GET" if method == "HEAD" else method
        scope = view.scopes.get(stated)
        if scope is None:
            return True  # DRF answers 405
        if not view.actor.has_scope(scope):
            raise ScopeMissing(f"This needs the scope {scope}.")
        role = getattr(view, "roles", {}).get(stated, "viewer" if method in SAFE else "member")
        if role != NO_ROLE and RANK.get(view.actor.role, 0) < RANK[role]:
            raise RoleTooLow(f"This needs the role {role} in the organization; yours is {view.actor.role or 'none'}.")
        return True
