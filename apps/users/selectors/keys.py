"""From a secret to its API key."""

from __future__ import annotations

from apps.users.errors import KeyUnknown
from apps.users.key_format import hash_secret, is_well_formed
from apps.users.models import ApiKey


def find_key(secret: str) -> ApiKey:
    """Return the usable key with this secret, with user and organization. Raise KeyUnknown, also for a bad checksum."""
    if is_well_formed(secret):
        found = ApiKey.objects.usable().with_secret_hash(hash_secret(secret))
        key: ApiKey | None = found.select_related("user", "organization").first()
        if key is not None:
            return key
    raise KeyUnknown("The API key is unknown, revoked or expired. Make a new one under API keys.")
