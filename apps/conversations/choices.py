"""Words of the conversations house."""

from django.db import models


class MessageRole(models.TextChoices):
    SYSTEM = "system", "System"
    USER = "user", "User"
    ASSISTANT = "assistant", "Assistant"


class MessageStatus(models.TextChoices):
    """How far a message is. Only an answer can be other than complete."""

    COMPLETE = "complete", "Complete"
    RUNNING = "running", "Running"
    CANCELLED = "cancelled", "Cancelled"
    INTERRUPTED = "interrupted", "Interrupted"
    FAILED = "failed", "Failed"


class RunStatus(models.TextChoices):
    """How far a run is: queued until the gateway takes it, running until its end."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    COMPLETE = "complete", "Complete"
    CANCELLED = "cancelled", "Cancelled"
    INTERRUPTED = "interrupted", "Interrupted"
    FAILED = "failed", "Failed"


ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING)
ENDED = (RunStatus.COMPLETE, RunStatus.CANCELLED, RunStatus.INTERRUPTED, RunStatus.FAILED)


class TitleOrigin(models.TextChoices):
    """Where a conversation's title comes from. A model is asked once at the most, and never after a person."""

    WORDS = "words", "First words"
    ASKED = "asked", "First words, a model was asked"
    KEPT = "kept", "First words, no model had a better one"
    MODEL = "model", "A model"
    PERSON = "person", "A person"
