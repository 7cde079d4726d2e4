"""The test session: services come from tests/support/services.py through the environment."""

import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from project.settings.base import *  # noqa: F403
from project.settings.base import DATABASES

SECRET_KEY = "test-only-secret-key-of-more-than-fifty-characters-0123456789"  # noqa: S105
FIELD_ENCRYPTION_KEYS = "test:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
DATA_DIR = Path(tempfile.mkdtemp(prefix="portico-test-"))
STATIC_ROOT = DATA_DIR / "static"
JWT_PRIVATE_KEY_FILE = DATA_DIR / "jwt_private_key.pem"
JWT_PRIVATE_KEY_FILE.write_bytes(
    rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
)
SITE_URL = "http://testserver"
ALLOWED_HOSTS = ["*"]
CSRF_TRUSTED_ORIGINS = [SITE_URL]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", "apps.users.hashers.ClientSecretHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
CELERY_TASK_ALWAYS_EAGER = True
# Tests of titles ask for a model themselves; behind all others no further call is made.
CHAT_TITLES = "words"
CELERY_TASK_EAGER_PROPAGATES = True
# Every test client is a server of its own: it must not look through all static files before its first answer.
WHITENOISE_AUTOREFRESH = True
# Each test talks to its own connection; a pool would outlive the test database.
DATABASES["default"]["OPTIONS"].pop("pool")
