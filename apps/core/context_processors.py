"""What every page may use."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def page(request: HttpRequest) -> dict[str, Any]:
    """Return the page's CSP nonce and the switches that templates show or hide things by."""
    return {"csp_nonce": getattr(request, "csp_nonce", ""), "registration_open": settings.REGISTRATION_OPEN}
