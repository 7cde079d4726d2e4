"""Words of the gateway."""

from django.db import models


class ProviderKind(models.TextChoices):
    """The wire format a provider speaks: the name of its adapter."""

    OPENAI = "openai", "OpenAI and compatible"
    ANTHROPIC = "anthropic", "Anthropic"
    OPENROUTER = "openrouter", "OpenRouter"
    OLLAMA = "ollama", "Ollama"
    SANDBOX = "sandbox", "Sandbox"


class Tier(models.TextChoices):
    """How much a model can do, and costs."""

    T0 = "T0", "T0 · local or free of charge"
    T1 = "T1", "T1 · small and quick"
    T2 = "T2", "T2 · all-round"
    T3 = "T3", "T3 · frontier"


class Capability(models.TextChoices):
    """What a model can be asked for."""

    CHAT = "chat", "Chat"
    EMBEDDINGS = "embeddings", "Embeddings"
    TOOLS = "tools", "Tool calls"
    VISION = "vision", "Images in prompts"
    JSON = "json", "Structured output"
    REASONING = "reasoning", "Reasoning"


class CallStatus(models.TextChoices):
    """How a call ended."""

    OK = "ok", "Answered"
    ERROR = "error", "Failed"
    CANCELLED = "cancelled", "Stopped by the caller"
    INTERRUPTED = "interrupted", "Cut by the end of our process"


class AnalysisMethod(models.TextChoices):
    """Who found what an analysis tells."""

    MODEL = "model", "A model"
    FALLBACK = "fallback", "Rules, without a model"


class SentimentLabel(models.TextChoices):
    """How a text judges what it is about."""

    POSITIVE = "positive", "Positive"
    NEUTRAL = "neutral", "Neutral"
    NEGATIVE = "negative", "Negative"
    MIXED = "mixed", "Mixed"


class EntityKind(models.TextChoices):
    """What a name in a text stands for."""

    PERSON = "person", "Person"
    ORGANIZATION = "organization", "Organization"
    PLACE = "place", "Place"
    DATE = "date", "Date"
    MONEY = "money", "Amount of money"
    PERCENT = "percent", "Percentage"
    EMAIL = "email", "E-mail address"
    PHONE = "phone", "Phone number"
    URL = "url", "Web address"
    OTHER = "other", "Other name"
