"""Settings that hold everywhere. What differs lies in local, production and test."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from celery.schedules import crontab
from django.templatetags.static import static
from django.urls import reverse_lazy

from apps.core.logging import build_logging
from project.settings.environment import BASE_DIR, Environment

ENV = Environment()

# Identity of this installation
SECRET_KEY = ENV.secret_key.get_secret_value()
FIELD_ENCRYPTION_KEYS = ENV.field_encryption_keys.get_secret_value()
JWT_PRIVATE_KEY_FILE = ENV.jwt_private_key_file or ENV.data_dir / "secrets" / "jwt_private_key.pem"
DATA_DIR = ENV.data_dir
SITE_URL = ENV.site_url()
DEBUG = False
ALLOWED_HOSTS = ENV.allowed_hosts
TRUSTED_PROXIES = ENV.trusted_proxies
OUTBOUND_ALLOW = ENV.outbound_allow
JOURNAL_SYNC = ENV.journal_sync
REGISTRATION_OPEN = ENV.registration == "open"
ADMIN_EMAIL = ENV.admin_email
ADMIN_PASSWORD = ENV.admin_password.get_secret_value()
BOOTSTRAP_API_KEY = ENV.api_key.get_secret_value()

HOUSES = [
    "apps.core",
    "apps.events",
    "apps.users",
    "apps.audit",
    "apps.billing",
    "apps.integrations",
    "apps.gateway",
    "apps.conversations",
    "apps.monitoring",
    "apps.admin_panel",
]

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "channels",
    "corsheaders",
    "django_celery_beat",
    "django_filters",
    "django_prometheus",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "health_check",
    "oauth2_provider",
    "rest_framework",
    *HOUSES,
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "apps.core.middleware.ForwardedSchemeMiddleware",
    "apps.core.middleware.RequestIdMiddleware",
    "apps.core.middleware.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "apps.core.middleware.DependencyDownMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.users.middleware.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
# Called once by `manage.py up`: large tables that all web processes only read are then in memory once.
LOADED_BEFORE_FORK = ["apps.gateway.providers.tokens.load_vocabulary"]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.core.context_processors.page",
            ],
        },
    },
]

# Data
_database = urlsplit(ENV.database_url)
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.path.lstrip("/") or "portico",
        "USER": unquote(_database.username or ""),
        "PASSWORD": unquote(_database.password or ""),
        "HOST": _database.hostname or "127.0.0.1",
        "PORT": str(_database.port or 5432),
        # The pool makes async entrances cheap and never outlives a request.
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            "connect_timeout": 3,
            "pool": {"min_size": 0, "max_size": 20, "timeout": 2, "max_idle": 60},
            "application_name": "portico",
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = ENV.redis_url
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "portico",
        "OPTIONS": {
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "SOCKET_CONNECT_TIMEOUT": 1,
            "SOCKET_TIMEOUT": 1,
        },
    },
}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}}

CELERY_BROKER_URL = ENV.broker_url()
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "normal"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Unacknowledged work of a killed worker comes back soon; sweepers find what the broker lost.
# A broker that is down is found out at once: whoever rings must not wait for it.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 60,
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
}
CELERY_TASK_TIME_LIMIT = 50
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TIMEZONE = "UTC"
# Its lines are ours: structured and masked.
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE = {
    "keep-partitions": {"task": "events.keep_partitions", "schedule": crontab(hour=3, minute=17)},
}

# People
AUTH_USER_MODEL = "users.User"
LOGIN_URL = reverse_lazy("login")
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = reverse_lazy("login")
PASSWORD_HASHERS = ["apps.users.hashers.CappedArgon2PasswordHasher", "apps.users.hashers.ClientSecretHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_RESET_TIMEOUT = 3600
# Without a mail server nobody could ever confirm an address.
EMAIL_VERIFICATION_REQUIRED = bool(ENV.email_url)
ACCESS_TOKEN_LIFETIME = timedelta(minutes=15)
REFRESH_TOKEN_LIFETIME = timedelta(days=30)

SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_SECURE = SITE_URL.startswith("https://")
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_TRUSTED_ORIGINS = [SITE_URL]
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "strict-origin-when-cross-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CORS_ALLOWED_ORIGINS = ENV.cors_origins
CORS_URLS_REGEX = r"^/api/v3/.*$"

# Size limits (bytes): what is larger is refused with 413 before it is read.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
GATEWAY_MAX_BODY_BYTES = 20 * 1024 * 1024

# The gateway
GATEWAY_PROVIDERS = ENV.providers()
GATEWAY_LIMITS_WITHOUT_REDIS = ENV.limits_without_redis
GATEWAY_BUDGETS_WITHOUT_DATABASE = ENV.budgets_without_database
GATEWAY_UNPRICED_MODELS = ENV.unpriced_models
GATEWAY_UNPRICED_MICROS = ENV.unpriced_micros
GATEWAY_ROUTING_ATTEMPTS = ENV.routing_attempts
GATEWAY_ROUTING_SECONDS = ENV.routing_seconds
GATEWAY_PROBE_SECONDS = ENV.probe_seconds
GATEWAY_PROBE_MONTHS = ENV.probe_months
ANALYSIS_MODEL = ENV.analysis_model
CHAT_TITLES = ENV.chat_titles
RESPONSES_KEEP_DAYS = ENV.responses_keep_days
WEB_CONCURRENCY = ENV.web_concurrency

# Every gate of RFC 9700 that the library has is closed.
OAUTH2_PROVIDER = {
    "SCOPES_BACKEND_CLASS": "apps.users.oauth.scopes.PorticoScopes",
    "OAUTH2_VALIDATOR_CLASS": "apps.users.oauth.validator.PorticoOAuth2Validator",
    "CLIENT_SECRET_HASHER": "client_sha256",
    "OIDC_ENABLED": True,
    "OIDC_ISS_ENDPOINT": SITE_URL,
    "OIDC_RESPONSE_TYPES_SUPPORTED": ["code"],
    "OAUTH2_RESPONSE_TYPES_SUPPORTED": ["code"],
    "OAUTH2_GRANT_TYPES_SUPPORTED": ["authorization_code", "client_credentials", "refresh_token"],
    "AUTHORIZATION_CODE_EXPIRE_SECONDS": 60,
    "ACCESS_TOKEN_EXPIRE_SECONDS": 900,
    "ID_TOKEN_EXPIRE_SECONDS": 900,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 30 * 24 * 3600,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
    "PKCE_REQUIRED": True,
    "REQUEST_APPROVAL_PROMPT": "force",
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    "COMPLIANT_BCP_RFC9700_REFRESH_TOKEN": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_SCHEME": True,
    "COMPLIANT_BCP_RFC9700_REDIRECT_URI_MATCHING": True,
    "COMPLIANT_BCP_RFC9700_PKCE_REQUIRED": True,
}
OAUTH2_PROVIDER_APPLICATION_MODEL = "users.OAuthClient"

# REST
API_RATE_LIMITS = ENV.api_rate_limits()
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.users.api.authentication.TokenAuthentication",
        "apps.users.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["apps.users.api.permissions.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["apps.core.api.throttling.Throttle"],
    "DEFAULT_RENDERER_CLASSES": ["apps.core.api.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["apps.core.api.parsers.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "apps.core.api.pagination.CursorPagination",
    "DEFAULT_SCHEMA_CLASS": "apps.core.api.openapi.PorticoSchema",
    "EXCEPTION_HANDLER": "apps.core.api.problems.handle_exception",
    "PAGE_SIZE": 50,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Portico API",
    "VERSION": "3.0.0",
    "DESCRIPTION": "The AI gateway and conversation platform that an organization runs itself.",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/api/v3|/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.gateway.api.openapi.add_machine_operations",
        "apps.core.api.openapi.add_shared_parts",
    ],
    "ENUM_NAME_OVERRIDES": {
        "HealthStatusEnum": "apps.gateway.choices.HealthStatus",
        "UsageGroupEnum": "apps.billing.choices.UsageGroup",
        "HealthEnum": "apps.monitoring.choices.Health",
        "TeamRoleEnum": "apps.users.choices.TeamRole",
    },
}

# Mail
_email = urlsplit(ENV.email_url)
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend" if ENV.email_url else "apps.core.mail.PrintingBackend"
EMAIL_HOST = _email.hostname or ""
EMAIL_PORT = _email.port or 587
EMAIL_HOST_USER = unquote(_email.username or "")
EMAIL_HOST_PASSWORD = unquote(_email.password or "")
EMAIL_USE_SSL = _email.scheme == "smtps"
EMAIL_USE_TLS = bool(ENV.email_url) and not EMAIL_USE_SSL
DEFAULT_FROM_EMAIL = ENV.email_from
METRICS_TOKEN = ENV.metrics_token.get_secret_value()

# Words and times
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = ["project.formats"]
USE_I18N = True
USE_TZ = True

# Static files, vendored, from the web process
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = ENV.data_dir / "static"
WHITENOISE_USE_FINDERS = True
WHITENOISE_MANIFEST_STRICT = False

LOGGING = build_logging(form=ENV.log_format, level=ENV.log_level)

UNFOLD = {
    "SITE_TITLE": "Portico",
    "SITE_HEADER": "Portico",
    "SITE_SYMBOL": "hub",
    "SITE_ICON": lambda request: static("core/mark.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("core/mark.svg")}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "LOGIN": {"form": "apps.users.forms.ThrottledAuthenticationForm"},
    # Verdigris, the accent of static/core/tokens.css, in eleven steps.
    "COLORS": {
        "primary": {
            "50": "oklch(97.5% .012 178)",
            "100": "oklch(94% .025 178)",
            "200": "oklch(88% .05 177)",
            "300": "oklch(80% .08 177)",
            "400": "oklch(70% .095 177)",
            "500": "oklch(58% .095 177)",
            "600": "oklch(47% .08 178)",
            "700": "oklch(41% .07 178)",
            "800": "oklch(35% .058 178)",
            "900": "oklch(29% .046 178)",
            "950": "oklch(22% .034 178)",
        },
    },
    "DASHBOARD_CALLBACK": "apps.admin_panel.views.build_dashboard",
    "SIDEBAR": {"show_search": True, "navigation": "apps.admin_panel.views.build_navigation"},
}
