"""What can keep an embedded service from running."""


class EmbeddedServiceError(RuntimeError):
    """An embedded service cannot run here; the message says why and what to do instead."""
