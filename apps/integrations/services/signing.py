"""Secrets and signatures as Standard Webhooks 1.0 has them (https://github.com/standard-webhooks/standard-webhooks)."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix
SECRET_BYTES = 32
MASKED_SIGNATURE = "v1,***"


def new_secret() -> str:
    """Return a fresh secret: `whsec_` and 256 random bits in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(*, webhook_id: str, sent_at: datetime, body: str, valid_secrets: Sequence[str]) -> dict[str, str]:
    """Return the three headers. Every valid secret signs, so that receivers can change over at their leisure.

    `sent_at` is aware; receivers refuse what is older than five minutes, so every attempt is signed anew.
    """
    signatures = [Webhook(secret).sign(msg_id=webhook_id, timestamp=sent_at, data=body) for secret in valid_secrets]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def mask_signature(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers as they may be stored and shown."""
    count = len(headers["webhook-signature"].split(" "))
    return headers | {"webhook-signature": " ".join([MASKED_SIGNATURE] * count)}
