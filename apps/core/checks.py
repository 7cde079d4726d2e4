"""Bad settings stop the start: every check has an id and a remedy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

from apps.core.encryption import parse_keys
from apps.core.outbound.networks import parse_networks


@register(Tags.security)
def check_secrets(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse to run without the secrets that nobody may default."""
    found: list[CheckMessage] = []
    hint = "`manage.py up` generates it into PORTICO_DATA; elsewhere set it from your secret store."
    if len(settings.SECRET_KEY) < 50:
        found.append(Error("PORTICO_SECRET_KEY is missing or shorter than 50 characters.", hint=hint, id="core.E001"))
    try:
        if not parse_keys(settings.FIELD_ENCRYPTION_KEYS):
            found.append(Error("PORTICO_FIELD_ENCRYPTION_KEYS is empty.", hint=hint, id="core.E002"))
    except ImproperlyConfigured as error:
        found.append(Error(str(error), hint=hint, id="core.E002"))
    if not os.access(settings.JWT_PRIVATE_KEY_FILE, os.R_OK):
        found.append(
            Error(
                f"PORTICO_JWT_PRIVATE_KEY_FILE: {settings.JWT_PRIVATE_KEY_FILE} cannot be read.",
                hint=hint,
                id="core.E003",
            )
        )
    return found


@register(Tags.security)
def check_outbound_networks(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse a list of private networks that cannot be read: it must not fail at the first call."""
    try:
        parse_networks(settings.OUTBOUND_ALLOW)
    except ValueError as error:
        return [
            Error(f"PORTICO_OUTBOUND_ALLOW: {error}.", hint="Write CIDRs: 10.0.0.0/8, fd00::/8", id="core.E005"),
        ]
    return []


@register(Tags.security, deploy=True)
def check_hosts(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Refuse `*` as a host name in production."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        Error(
            "PORTICO_ALLOWED_HOSTS is `*`.",
            hint="Name the hosts that people use, comma-separated.",
            id="core.E004",
        )
    ]
