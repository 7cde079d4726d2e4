"""Why `manage.py up` does not start."""


class StartError(RuntimeError):
    """The start was refused; the message says why and what to do."""
