"""The environment, typed: every variable that Portico reads, in one place.

`docs/settings.md` and `.env.example` list the same names; a test holds the three together.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

BASE_DIR = Path(__file__).resolve().parents[2]


class Environment(BaseSettings):
    """Variables of the process. Names are the upper-case aliases; unknown variables are ignored."""

    model_config = SettingsConfigDict(
        env_file=BASE_DIR / ".env", extra="ignore", populate_by_name=True, env_ignore_empty=True
    )

    # Where things are
    data_dir: Path = Field(
        BASE_DIR / "var", alias="PORTICO_DATA", description="State directory: secrets, journals, embedded services."
    )
    host: str = Field("127.0.0.1", alias="PORTICO_HOST", description="Address that the web process listens on.")
    port: int = Field(8000, alias="PORT", ge=1, le=65535, description="Port of the web process.")
    public_url: str = Field(
        "",
        alias="PORTICO_PUBLIC_URL",
        description="URL under which people reach Portico, for links in mails and the OAuth issuer; default http://PORTICO_HOST:PORT.",
    )
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        ["*"],
        alias="PORTICO_ALLOWED_HOSTS",
        description="Host names that are answered, comma-separated; `*` only outside production.",
    )
    trusted_proxies: Annotated[list[str], NoDecode] = Field(
        [],
        alias="PORTICO_TRUSTED_PROXIES",
        description="CIDRs of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, comma-separated.",
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        [],
        alias="PORTICO_CORS_ORIGINS",
        description="Origins whose browsers may call /api/v3 and /v1, comma-separated.",
    )
    web_concurrency: int = Field(1, alias="WEB_CONCURRENCY", ge=1, le=256, description="Number of web processes.")

    # Services
    database_url: str = Field(
        "", alias="DATABASE_URL", description="postgresql://user:password@host:port/name; unset: embedded Postgres."
    )
    redis_url: str = Field("", alias="REDIS_URL", description="redis://:password@host:port/0; unset: embedded Redis.")
    celery_broker_url: str = Field("", alias="CELERY_BROKER_URL", description="Celery broker; default REDIS_URL.")

    # Secrets
    secret_key: SecretStr = Field(
        SecretStr(""),
        alias="PORTICO_SECRET_KEY",
        description="Django's signing key; `manage.py up` keeps a generated one in PORTICO_DATA.",
    )
    field_encryption_keys: SecretStr = Field(
        SecretStr(""),
        alias="PORTICO_FIELD_ENCRYPTION_KEYS",
        description="Keys of encrypted fields, newest first: `id:base64` with 32 bytes each, comma-separated.",
    )
    jwt_private_key_file: Path | None = Field(
        None, alias="PORTICO_JWT_PRIVATE_KEY_FILE", description="PEM file of the RSA key that signs access tokens."
    )

    # First start
    admin_email: str = Field(
        "", alias="PORTICO_ADMIN_EMAIL", description="E-mail of the first administrator; default admin@portico.local."
    )
    admin_password: SecretStr = Field(
        SecretStr(""),
        alias="PORTICO_ADMIN_PASSWORD",
        description="Password of the first administrator; default generated and printed once.",
    )
    api_key: SecretStr = Field(
        SecretStr(""),
        alias="PORTICO_API_KEY",
        description="API key without limits, made at first start; 32 or more characters.",
    )

    # Providers
    openai_api_key: SecretStr = Field(SecretStr(""), alias="OPENAI_API_KEY", description="Credential of OpenAI.")
    openai_base_url: str = Field(
        "",
        alias="OPENAI_BASE_URL",
        description="Base URL of OpenAI or any compatible server, with /v1; default https://api.openai.com/v1.",
    )
    anthropic_api_key: SecretStr = Field(
        SecretStr(""), alias="ANTHROPIC_API_KEY", description="Credential of Anthropic."
    )
    anthropic_base_url: str = Field(
        "", alias="ANTHROPIC_BASE_URL", description="Base URL of Anthropic; default https://api.anthropic.com."
    )
    openrouter_api_key: SecretStr = Field(
        SecretStr(""), alias="OPENROUTER_API_KEY", description="Credential of OpenRouter."
    )
    ollama_base_url: str = Field(
        "", alias="OLLAMA_BASE_URL", description="Base URL of an Ollama server, for example http://localhost:11434."
    )

    # Behaviour
    outbound_allow: Annotated[list[str], NoDecode] = Field(
        [],
        alias="PORTICO_OUTBOUND_ALLOW",
        description="CIDRs of private networks that outbound calls to user-given URLs may reach, comma-separated.",
    )
    journal_sync: Literal["interval", "always"] = Field(
        "interval",
        alias="PORTICO_JOURNAL_SYNC",
        description="When the usage journal reaches the disk: every 100 ms, or before the last byte of every answer.",
    )
    api_limits: str = Field(
        "ip=6000,user=3000,key=3000,route=1500",
        alias="PORTICO_API_LIMITS",
        pattern=r"^((ip|user|key|route)=\d{1,9}(,|$))*$",
        description="Requests a minute of /api/v3, of an address, a person, a key, and a caller at one endpoint; 0 for no limit.",
    )
    limits_without_redis: Literal["local", "refuse"] = Field(
        "local",
        alias="PORTICO_LIMITS_WITHOUT_REDIS",
        description="Calls of keys with limits while Redis is down: each web process enforces its share, or 503.",
    )
    routing_attempts: int = Field(
        5,
        alias="PORTICO_ROUTING_ATTEMPTS",
        ge=1,
        le=20,
        description="How often one call is sent to providers at the most, over all deployments and fallbacks.",
    )
    routing_seconds: float = Field(
        60.0,
        alias="PORTICO_ROUTING_SECONDS",
        gt=0,
        le=600,
        description="Seconds after which a call that failed is not sent again.",
    )
    probe_seconds: float = Field(
        60.0,
        alias="PORTICO_PROBE_SECONDS",
        ge=0,
        le=3600,
        description="Seconds between two health probes of a provider; 0 for none.",
    )
    probe_months: int = Field(
        3, alias="PORTICO_PROBE_MONTHS", ge=1, le=120, description="Whole months for which results of probes are kept."
    )
    analysis_model: str = Field(
        "",
        alias="PORTICO_ANALYSIS_MODEL",
        description="Model of summaries, titles and the like; unset: the cheapest chat model, off: word rules only.",
    )
    chat_titles: Literal["model", "words"] = Field(
        "model",
        alias="PORTICO_CHAT_TITLES",
        description="What names a conversation after its first answer: a model, on the asker's account, or its first words.",
    )
    responses_keep_days: int = Field(
        30,
        alias="PORTICO_RESPONSES_KEEP_DAYS",
        ge=1,
        le=3650,
        description="Days after which stored responses of /v1/responses are deleted.",
    )
    budgets_without_database: Literal["refuse", "allow"] = Field(
        "refuse",
        alias="PORTICO_BUDGETS_WITHOUT_DATABASE",
        description="Calls that a hard budget binds while the database is down and the process holds too little: 503, or made.",
    )
    unpriced_models: Literal["budgeted", "deny", "allow", "cap"] = Field(
        "budgeted",
        alias="PORTICO_UNPRICED_MODELS",
        description="Calls to models without a price: refused where a hard budget binds the caller, all refused, all free, or charged PORTICO_UNPRICED_MICROS.",
    )
    unpriced_micros: int = Field(
        0,
        alias="PORTICO_UNPRICED_MICROS",
        ge=0,
        description="What a million tokens of a model without a price cost, in micro-USD, with PORTICO_UNPRICED_MODELS=cap.",
    )
    log_format: Literal["console", "json"] = Field(
        "console", alias="PORTICO_LOG_FORMAT", description="Form of log lines."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="PORTICO_LOG_LEVEL", description="Lowest level that is logged."
    )
    registration: Literal["open", "closed"] = Field(
        "open", alias="PORTICO_REGISTRATION", description="Whether people may register themselves."
    )
    email_url: str = Field(
        "",
        alias="PORTICO_EMAIL_URL",
        description="smtp://user:password@host:port or smtps://; unset: mails are printed to the log.",
    )
    email_from: str = Field("Portico <portico@localhost>", alias="PORTICO_EMAIL_FROM", description="Sender of mails.")
    metrics_token: SecretStr = Field(
        SecretStr(""),
        alias="PORTICO_METRICS_TOKEN",
        description="Bearer token that /metrics asks for; unset: only loopback addresses may read it.",
    )

    @field_validator("allowed_hosts", "trusted_proxies", "cors_origins", "outbound_allow", mode="before")
    @classmethod
    def split_commas(cls, value: object) -> object:
        """Accept `a, b` for a list."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("email_url")
    @classmethod
    def name_a_mail_server(cls, value: str) -> str:
        """Refuse what names no server: mails would vanish."""
        if value and not re.match(r"smtps?://([^/@]*@)?[^/@:]+", value):
            raise ValueError("Give smtp://user:password@host:port or smtps://…")
        return value

    def providers(self) -> dict[str, dict[str, str]]:
        """Return the providers that the environment names: slug → name, base_url, credential. The slug is the kind."""
        openai, anthropic = self.openai_api_key.get_secret_value(), self.anthropic_api_key.get_secret_value()
        openrouter = self.openrouter_api_key.get_secret_value()
        found = {"sandbox": {"name": "Sandbox", "base_url": "", "credential": ""}}
        if openai or self.openai_base_url:
            base_url = self.openai_base_url or "https://api.openai.com/v1"
            found["openai"] = {"name": "OpenAI", "base_url": base_url, "credential": openai}
        if anthropic or self.anthropic_base_url:
            base_url = self.anthropic_base_url or "https://api.anthropic.com"
            found["anthropic"] = {"name": "Anthropic", "base_url": base_url, "credential": anthropic}
        if openrouter:
            base_url = "https://openrouter.ai/api/v1"
            found["openrouter"] = {"name": "OpenRouter", "base_url": base_url, "credential": openrouter}
        if self.ollama_base_url:
            found["ollama"] = {"name": "Ollama", "base_url": self.ollama_base_url, "credential": ""}
        return found

    def api_rate_limits(self) -> dict[str, int]:
        """Return the limits of /api/v3 by what they count."""
        pairs = (pair.split("=") for pair in self.api_limits.split(",") if pair)
        return {name: int(limit) for name, limit in pairs}

    def broker_url(self) -> str:
        """Return the broker's URL: its own, or Redis."""
        return self.celery_broker_url or self.redis_url

    def site_url(self) -> str:
        """Return the public URL without a trailing slash."""
        host = "localhost" if self.host in {"127.0.0.1", "::1", "0.0.0.0", "::"} else self.host  # noqa: S104
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")
