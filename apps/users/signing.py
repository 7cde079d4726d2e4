"""The RSA key of access and ID tokens: read once, named by its RFC 7638 thumbprint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from jwcrypto import jwk

ALGORITHM = "RS256"
AUDIENCE = "portico"
# RFC 9068, 2.1: keeps an ID token from passing for an access token.
ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105 - a media type


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A private key, its public half and the `kid` under which verifiers find it."""

    key_id: str
    private_pem: bytes
    private_key: RSAPrivateKey
    public_key: RSAPublicKey
    public_jwk: dict[str, Any]


def signing_key() -> SigningKey:
    """Return the key of `PORTICO_JWT_PRIVATE_KEY_FILE`. Raise ImproperlyConfigured when it is no RSA key."""
    return _load(Path(settings.JWT_PRIVATE_KEY_FILE))


@lru_cache(maxsize=4)
def _load(path: Path) -> SigningKey:
    pem = path.read_bytes()
    private_key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(private_key, RSAPrivateKey):
        raise ImproperlyConfigured(f"PORTICO_JWT_PRIVATE_KEY_FILE: {path} holds no RSA key.")
    key = jwk.JWK.from_pem(pem)
    key_id = key.thumbprint()
    public_jwk = {**key.export_public(as_dict=True), "kid": key_id, "use": "sig", "alg": ALGORITHM}
    return SigningKey(key_id, pem, private_key, private_key.public_key(), public_jwk)
