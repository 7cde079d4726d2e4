"""The platform's health is the staff's business, not a tenant's."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request

from apps.core.errors import PermissionRefused
from apps.users.api.permissions import HasScope


class IsStaff(HasScope):
    """Ask for a member of staff besides the scope; such views say so with `staff_only`."""

    def has_permission(self, request: Request, view: Any) -> bool:
        allowed = super().has_permission(request, view)
        if not request.user.is_staff:
            raise PermissionRefused("Only staff may see how the platform feels.")
        return allowed
