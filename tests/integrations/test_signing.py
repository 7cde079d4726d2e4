"""Signatures that receivers can verify with the reference library, and by hand."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from apps.integrations.services.signing import mask_signature, new_secret, sign

BODY = '{"type":"lantern.lit"}'


def test_a_secret_carries_256_random_bits() -> None:
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert secret != new_secret()


def test_the_signature_is_the_hmac_of_id_time_and_body() -> None:
    key = b"0123456789abcdef0123456789abcdef"
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = sign(
        webhook_id="evt_1",
        sent_at=datetime(2026, 3, 1, 12, 0, 0, 900_000, tzinfo=UTC),
        body=BODY,
        valid_secrets=[secret],
    )
    expected = hmac.new(key, f"evt_1.1772366400.{BODY}".encode(), hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "evt_1",
        "webhook-timestamp": "1772366400",
        "webhook-signature": "v1," + base64.b64encode(expected).decode(),
    }


def test_every_valid_secret_signs_and_no_other_verifies() -> None:
    old, new, foreign = new_secret(), new_secret(), new_secret()
    headers = sign(webhook_id="evt_1", sent_at=datetime.now(UTC), body=BODY, valid_secrets=[new, old])
    assert Webhook(new).verify(BODY, headers) == {"type": "lantern.lit"}
    assert Webhook(old).verify(BODY, headers) == {"type": "lantern.lit"}
    with pytest.raises(WebhookVerificationError):
        Webhook(foreign).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(BODY + " ", headers)


def test_stored_headers_carry_no_signature() -> None:
    headers = sign(webhook_id="evt_1", sent_at=datetime.now(UTC), body=BODY, valid_secrets=[new_secret(), new_secret()])
    assert mask_signature(headers) == headers | {"webhook-signature": "v1,*** v1,***"}
