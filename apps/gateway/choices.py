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


class Strategy(models.TextChoices):
    """How a model's deployments of the same priority share its calls."""

    WEIGHTED = "weighted", "By weight"
    LATENCY = "latency", "Quickest first"
    COST = "cost", "Cheapest first"


class RuleAction(models.TextChoices):
    """What a routing rule does with the calls that it is about."""

    SEND = "send", "Send"
    REFUSE = "refuse", "Refuse"


class ProbeKind(models.TextChoices):
    """What a health probe asks of a provider."""

    MODELS = "models", "List of models"
    COMPLETION = "completion", "One token of an answer"


class HealthStatus(models.TextChoices):
    """What the last probes say."""

    UP = "up", "Up"
    DOWN = "down", "Down"
    UNKNOWN = "unknown", "Not probed yet"


class Breaker(models.TextChoices):
    """What calls say of a deployment."""

    CLOSED = "closed", "In use"
    RESTING = "resting", "Others are preferred"
    OPEN = "open", "Cooling down"
    HALF_OPEN = "half_open", "On trial"


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


class AnalysisReason(models.TextChoices):
    """Why no model's answer is in a finding."""

    ASKED = "asked", "the built-in method was asked for"
    EMPTY = "empty", "there is no text"
    NO_MODEL = "no_model", "there is no model to ask"
    SANDBOX = "sandbox", "a sandbox model only makes answers up, so it is not asked"
    REFUSED = "refused", "the call was refused or failed"
    FORM = "form", "the model twice gave an answer without the form that was asked for"


class Analysis(models.TextChoices):
    """What can be found out about a text."""

    SUMMARY = "summary", "Summary"
    TITLE = "title", "Title"
    TAGS = "tags", "Tags"
    SENTIMENT = "sentiment", "Sentiment"
    TOPICS = "topics", "Topics"
    ENTITIES = "entities", "Entities"
    MODERATION = "moderation", "Moderation"


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


class CacheScope(models.TextChoices):
    """Who gets whose cached answers, among those whom one policy applies to."""

    ORGANIZATION = "organization", "Everyone under the policy"
    USER = "user", "Each person their own"
    API_KEY = "api_key", "Each key its own"


class CacheState(models.TextChoices):
    """What the cache did for a call: the values of `x-portico-cache`."""

    HIT = "hit", "Answered from the cache"
    SEMANTIC_HIT = "hit-semantic", "Answered with the answer to a question of the same meaning"
    MISS = "miss", "Nothing was cached"
    OFF = "off", "Not asked for, or not possible"


class ResponseStatus(models.TextChoices):
    """How far a response of /v1/responses is, in OpenAI's words."""

    QUEUED = "queued", "Queued"
    IN_PROGRESS = "in_progress", "Being written"
    COMPLETED = "completed", "Complete"
    INCOMPLETE = "incomplete", "Cut short"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


ACTIVE_RESPONSES = (ResponseStatus.QUEUED, ResponseStatus.IN_PROGRESS)


class LimitScope(models.TextChoices):
    """Whose calls a rate limit counts together."""

    ORGANIZATION = "organization", "Organization"
    TEAM = "team", "Team"
    USER = "user", "User"
    KEY = "key", "Key"
    END_USER = "end_user", "End user"
    TAG = "tag", "Tag"
    MODEL = "model", "Model"


class LimitAlgorithm(models.TextChoices):
    """How a rate limit counts a minute."""

    SLIDING_WINDOW = "sliding_window", "Sliding window"
    TOKEN_BUCKET = "token_bucket", "Token bucket"


class GuardMode(models.TextChoices):
    """What a guardrail does about what it finds."""

    OFF = "off", "Off"
    LOG = "log", "Log"
    MASK = "mask", "Mask"
    BLOCK = "block", "Block"


GUARD_STRICTNESS: dict[str, int] = {GuardMode.OFF: 0, GuardMode.LOG: 1, GuardMode.MASK: 2, GuardMode.BLOCK: 3}


class GuardDirection(models.TextChoices):
    """Where a guardrail looks."""

    INPUT = "input", "Prompt"
    OUTPUT = "output", "Answer"


class GuardDetector(models.TextChoices):
    """What a guardrail looks for."""

    PII = "pii", "Personal data"
    SECRETS = "secrets", "Secrets"
    INJECTION = "injection", "Prompt injection"
    MODERATION = "moderation", "Moderation"
    TOPICS = "topics", "Topics"
    LENGTHS = "lengths", "Lengths"
    OWN = "own", "Own patterns and words"
