"""Mail without a mail server."""

from __future__ import annotations

from django.core.mail import EmailMessage
from django.core.mail.backends.console import EmailBackend


class PrintingBackend(EmailBackend):
    """Prints what a person would read, so that the link in it can be followed; no headers, no HTML."""

    def write_message(self, message: EmailMessage) -> None:
        """Print one mail."""
        self.stream.write(
            "PORTICO_EMAIL_URL names no mail server, so this mail goes nowhere else.\n"
            f"To: {', '.join(message.to)}\nSubject: {message.subject}\n\n{message.body.strip()}\n\n"
        )
