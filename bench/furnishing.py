"""What a real installation has and an empty one has not: ten thousand keys, limits on the caller, a budget above it."""

from __future__ import annotations

import os
import subprocess
import sys

from bench.servers import ROOT, Target

KEYS = 10_000
# Limits that are checked on every call and never reached.
SCRIPT = """
from apps.billing.services.budgets import create_budget
from apps.core.actor import system_actor
from apps.users.key_format import hash_secret, new_secret, shown_prefix
from apps.users.models import ApiKey
from apps.users.services.announcing import announce_identity_change

key = ApiKey.objects.get(secret_hash=hash_secret("%(secret)s"))
secrets = [new_secret() for _ in range(%(keys)d)]
ApiKey.objects.bulk_create([
    ApiKey(organization_id=key.organization_id, user_id=key.user_id, name=f"Key {number}", prefix=shown_prefix(secret),
           secret_hash=hash_secret(secret), requests_per_minute=600)
    for number, secret in enumerate(secrets)
], batch_size=1000)
key.requests_per_minute, key.tokens_per_minute = 100_000_000, 1_000_000_000
key.save(update_fields=["requests_per_minute", "tokens_per_minute"])
create_budget(actor=system_actor(), organization_id=key.organization_id, name="Bench", scope="organization",
              window="month", hard_micros=10**12)
announce_identity_change(kind="organization", id=key.organization_id)
"""


def furnish(target: Target) -> None:
    """Fill Portico's tables and bind the bench key."""
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", SCRIPT % {"secret": target.key, "keys": KEYS}],
        cwd=ROOT,
        env={**os.environ, "PORTICO_DATA": str(target.data)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
