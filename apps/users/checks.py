"""System checks of the users house."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from apps.users.key_format import is_well_formed


@register(Tags.security)
def check_bootstrap_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse an API key in the environment that could never be used."""
    if not settings.BOOTSTRAP_API_KEY or is_well_formed(settings.BOOTSTRAP_API_KEY):
        return []
    return [
        Error(
            "PORTICO_API_KEY is no valid key.",
            hint="Give 32 to 256 ASCII characters; one that starts with pk_live_ needs its right checksum.",
            id="users.E001",
        )
    ]
