"""What becomes of mails where there is no mail server."""

from __future__ import annotations

from io import StringIO

from django.core.mail import EmailMultiAlternatives

from apps.core.mail import PrintingBackend


def test_a_mail_is_printed_as_a_person_reads_it():
    mail = EmailMultiAlternatives("Set a new password", "Open http://x/reset?token=abc\n", to=["a@b.c", "d@e.f"])
    mail.attach_alternative("<p>Open it</p>", "text/html")
    log = StringIO()
    assert PrintingBackend(stream=log).send_messages([mail]) == 1
    assert log.getvalue() == (
        "PORTICO_EMAIL_URL names no mail server, so this mail goes nowhere else.\n"
        "To: a@b.c, d@e.f\nSubject: Set a new password\n\nOpen http://x/reset?token=abc\n\n"
    )
