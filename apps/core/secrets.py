"""The secrets of an installation: generated once into the data directory, readable by their owner alone."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from apps.core.embedded.state import make_private_dir, read_or_create

SECRET_KEY_BYTES = 64
FIELD_KEY_BYTES = 32  # AES-256
JWT_KEY_BITS = 2048


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """What settings need and no code may default."""

    secret_key: str
    field_encryption_keys: str
    jwt_private_key_file: Path

    def as_environment(self) -> dict[str, str]:
        """Return the variables through which settings read them."""
        return {
            "PORTICO_SECRET_KEY": self.secret_key,
            "PORTICO_FIELD_ENCRYPTION_KEYS": self.field_encryption_keys,
            "PORTICO_JWT_PRIVATE_KEY_FILE": str(self.jwt_private_key_file),
        }


def ensure_secrets(data_dir: Path) -> Secrets:
    """Return the secrets of the data directory; what is missing is generated, each file at once and with mode 0600."""
    directory = make_private_dir(data_dir / "secrets")
    jwt_private_key_file = directory / "jwt_private_key.pem"
    read_or_create(jwt_private_key_file, _generate_jwt_key)
    return Secrets(
        secret_key=read_or_create(directory / "secret_key", _generate_secret_key),
        field_encryption_keys=read_or_create(directory / "field_encryption_keys", _generate_field_key),
        jwt_private_key_file=jwt_private_key_file,
    )


def find_secrets(data_dir: Path) -> Secrets | None:
    """Return the secrets of the data directory if `ensure_secrets` was there before, without generating any."""
    directory = data_dir / "secrets"
    jwt_private_key_file = directory / "jwt_private_key.pem"
    try:
        return Secrets(
            secret_key=(directory / "secret_key").read_text(),
            field_encryption_keys=(directory / "field_encryption_keys").read_text(),
            jwt_private_key_file=jwt_private_key_file,
        )
    except OSError:
        return None


def _generate_secret_key() -> str:
    return secrets.token_urlsafe(SECRET_KEY_BYTES)


def _generate_field_key() -> str:
    """Return one key with its id, in the form of PORTICO_FIELD_ENCRYPTION_KEYS; rotation puts newer ones before it."""
    return f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(FIELD_KEY_BYTES)).decode()}"


def _generate_jwt_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=JWT_KEY_BITS)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode()
