"""Secrets are generated once, strong, private, and never shown by accident."""

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from apps.core.encryption import parse_keys
from apps.core.secrets import ensure_secrets, find_secrets


def test_they_are_of_the_strength_that_settings_ask_for(tmp_path):
    secrets = ensure_secrets(tmp_path)
    assert len(secrets.secret_key) >= 50
    [(key_id, key)] = parse_keys(secrets.field_encryption_keys).items()
    assert len(key) == 32
    assert key_id.startswith("k")
    jwt_key = load_pem_private_key(secrets.jwt_private_key_file.read_bytes(), password=None)
    assert isinstance(jwt_key, RSAPrivateKey)
    assert jwt_key.key_size >= 2048


def test_two_installations_share_nothing(tmp_path):
    one, other = ensure_secrets(tmp_path / "one"), ensure_secrets(tmp_path / "other")
    assert one.secret_key != other.secret_key
    assert one.field_encryption_keys != other.field_encryption_keys
    assert one.jwt_private_key_file.read_bytes() != other.jwt_private_key_file.read_bytes()


def test_they_stay_what_they_are(tmp_path):
    first = ensure_secrets(tmp_path)
    pem = first.jwt_private_key_file.read_bytes()
    assert ensure_secrets(tmp_path) == first == find_secrets(tmp_path)
    assert first.jwt_private_key_file.read_bytes() == pem


def test_a_missing_one_is_added_and_the_others_stay(tmp_path):
    first = ensure_secrets(tmp_path)
    (tmp_path / "secrets" / "secret_key").unlink()
    second = ensure_secrets(tmp_path)
    assert second.secret_key != first.secret_key
    assert second.field_encryption_keys == first.field_encryption_keys


def test_files_and_directory_are_private(tmp_path):
    ensure_secrets(tmp_path)
    directory = tmp_path / "secrets"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def test_nothing_is_found_where_nothing_was_generated(tmp_path):
    assert find_secrets(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_they_reach_settings_by_the_environment_and_hide_from_logs(tmp_path):
    secrets = ensure_secrets(tmp_path)
    assert secrets.as_environment() == {
        "PORTICO_SECRET_KEY": secrets.secret_key,
        "PORTICO_FIELD_ENCRYPTION_KEYS": secrets.field_encryption_keys,
        "PORTICO_JWT_PRIVATE_KEY_FILE": str(tmp_path / "secrets" / "jwt_private_key.pem"),
    }
    assert secrets.secret_key not in repr(secrets)
