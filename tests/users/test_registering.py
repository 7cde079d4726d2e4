"""Registration, confirmation and reset: mails go out, and nobody learns who has an account."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core.actor import ANONYMOUS
from apps.events.models import Event
from apps.users.models import MailedLink, Membership, Organization, User, UserSession
from apps.users.services.mailing import forget_old_links, lost_links, send_link
from apps.users.services.registering import register_user
from apps.users.tasks import resend_lost_mail
from tests.factories.users import PASSWORD, UserFactory
from tests.support.threads import run_together
from tests.users.client import bearer, log_in, post

pytestmark = pytest.mark.django_db

REGISTER = "/api/v3/auth/register"
FORGOT = "/api/v3/auth/forgot-password"
RESET = "/api/v3/auth/reset-password"
VERIFY = "/api/v3/auth/verify-email"
NEW = {"email": "grace@example.com", "password": "the nanosecond is this long", "name": "Grace Hopper"}


@pytest.fixture
def send_mails(deliver, django_capture_on_commit_callbacks):
    """Return a function that lets the relay and the worker do what is due."""

    def run() -> list[mail.EmailMessage]:
        with django_capture_on_commit_callbacks(execute=True):
            deliver()
        return mail.outbox

    return run


def token_in(message: Any) -> str:
    found = re.search(r"token=([\w-]+)", message.body)
    assert found
    return found[1]


class TestRegistering:
    def test_it_makes_an_account_with_a_personal_organization(self, client: Client) -> None:
        answer = post(client, REGISTER, NEW)

        assert answer.status_code == 202
        assert set(answer.json()) == {"detail"}
        user = User.objects.get(email="grace@example.com")
        assert (user.name, user.is_staff, user.is_superuser, user.email_verified_at) == (
            "Grace Hopper",
            False,
            False,
            None,
        )
        membership = Membership.objects.get(user=user)
        assert membership.role == "owner"
        assert membership.organization.is_personal
        assert user.default_organization == membership.organization
        assert list(Event.objects.order_by("position").values_list("type", flat=True)) == [
            "organization.created",
            "membership.added",
            "user.registered",
            "mailed_link.requested",
        ]

    def test_the_mail_confirms_the_address_once(self, client: Client, send_mails, settings) -> None:
        settings.EMAIL_VERIFICATION_REQUIRED = True
        post(client, REGISTER, NEW)
        assert log_in(client, NEW["email"], NEW["password"]).status_code == 401

        [message] = send_mails()

        assert message.to == ["grace@example.com"]
        assert message.subject == "Confirm your address – Portico"
        assert f"{settings.SITE_URL}/verify-email?token=" in message.body
        html, kind = message.alternatives[0]
        assert kind == "text/html"
        assert token_in(message) in html
        token = token_in(message)
        assert post(client, VERIFY, {"token": token}).status_code == 200
        assert User.objects.get(email="grace@example.com").email_verified_at is not None
        assert log_in(client, NEW["email"], NEW["password"]).status_code == 200
        again = post(client, VERIFY, {"token": token})
        assert (again.status_code, again.json()["code"]) == (400, "users.link_invalid")

    def test_a_second_registration_looks_the_same_and_changes_nothing(self, client: Client, send_mails) -> None:
        owner = UserFactory(email="grace@example.com", name="The first")
        first = post(client, REGISTER, {**NEW, "email": "other@example.com"})

        second = post(client, REGISTER, {**NEW, "email": "Grace@Example.com"})

        assert (second.status_code, second.content) == (first.status_code, first.content)
        assert set(User.objects.values_list("email", flat=True)) == {"grace@example.com", "other@example.com"}
        assert (Organization.objects.count(), Membership.objects.count()) == (1, 1)
        owner.refresh_from_db()
        assert owner.name == "The first"
        assert owner.check_password(PASSWORD)
        notice = next(message for message in send_mails() if message.to == ["grace@example.com"])
        assert notice.subject == "You have an account already – Portico"
        assert "token" not in notice.body

    def test_a_taken_address_costs_as_many_statements_as_a_free_one(self, client: Client) -> None:
        UserFactory(email="grace@example.com")
        counts = []
        for email in ("grace@example.com", "free@example.com"):
            with CaptureQueriesContext(
                connection,
            ) as queries:
                post(client, REGISTER, {**NEW, "email": email})
            counts.append(sum(query["sql"].startswith(("INSERT", "UPDATE")) for query in queries))

        assert counts[0] == counts[1]

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"password": "short"}, "password"),
            ({"password": "grace@example.com"}, "password"),
            ({"password": "password1234"}, "password"),
            ({"email": "not an address"}, "email"),
            ({"email": "a" * 250 + "@example.com"}, "email"),
            ({"name": "n" * 201}, "name"),
        ],
    )
    def test_bad_input_is_refused_by_field(self, client: Client, change: dict[str, str], field: str) -> None:
        refused = post(client, REGISTER, NEW | change)

        assert refused.status_code == 400
        assert list(refused.json()["errors"]) == [field]
        assert not User.objects.exists()

    def test_rights_cannot_be_registered(self, client: Client) -> None:
        post(client, REGISTER, NEW | {"is_staff": True, "is_superuser": True, "email_verified_at": "2026-01-01"})

        user = User.objects.get()
        assert (user.is_staff, user.is_superuser, user.email_verified_at) == (False, False, None)

    def test_closed_registration_refuses(self, client: Client, settings) -> None:
        settings.REGISTRATION_OPEN = False

        assert post(client, REGISTER, NEW).json()["code"] == "users.registration_closed"
        assert not User.objects.exists()

    def test_one_address_is_mailed_five_times_an_hour(self, client: Client) -> None:
        answers = [post(client, REGISTER, NEW).status_code for _ in range(6)]

        assert answers == [202] * 5 + [429]


@pytest.mark.django_db(transaction=True)
def test_twenty_registrations_at_once_make_one_account(settings) -> None:
    def register() -> User | None:
        return register_user(**NEW, ip_address=f"192.0.2.{next(addresses)}", actor=ANONYMOUS)

    addresses = iter(range(20))
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

    answers = run_together(register, count=20)

    assert sum(isinstance(answer, User) for answer in answers) == 1
    assert User.objects.count() == 1
    assert Organization.objects.count() == 1
    assert MailedLink.objects.filter(purpose="verify_email").count() == 1


class TestResettingAPassword:
    @pytest.fixture
    def token(self, client: Client, person: User, send_mails) -> str:
        post(client, FORGOT, {"email": "ADA@example.com"})
        [message] = send_mails()
        assert message.subject == "Set a new password – Portico"
        return token_in(message)

    def test_the_link_sets_the_password_ends_sessions_and_confirms_the_address(
        self, client: Client, person: User, token: str
    ) -> None:
        session = log_in(client, person.email).json()

        answer = post(client, RESET, {"token": token, "password": "entirely new and long"})

        assert answer.status_code == 200
        person.refresh_from_db()
        assert person.check_password("entirely new and long")
        assert person.email_verified_at is not None
        assert client.get("/api/v3/users/me", headers=bearer(session["access_token"])).status_code == 401
        assert UserSession.objects.get().revoked_because == "password_changed"
        assert Event.objects.get(type="user.password_changed").payload == {"by_link": True}

    def test_it_works_once(self, client: Client, person: User, token: str) -> None:
        post(client, RESET, {"token": token, "password": "entirely new and long"})

        again = post(client, RESET, {"token": token, "password": "another one altogether"})

        assert again.json()["code"] == "users.link_invalid"
        person.refresh_from_db()
        assert person.check_password("entirely new and long")

    def test_a_weak_password_leaves_the_link_usable(self, client: Client, token: str) -> None:
        assert post(client, RESET, {"token": token, "password": "short"}).json()["code"] == "users.password_weak"
        assert post(client, RESET, {"token": token, "password": "entirely new and long"}).status_code == 200

    def test_it_voids_the_other_links(self, client: Client, person: User, token: str, send_mails) -> None:
        post(client, FORGOT, {"email": person.email})
        second = token_in(send_mails()[1])
        post(client, RESET, {"token": second, "password": "entirely new and long"})

        assert post(client, RESET, {"token": token, "password": "yet another one"}).status_code == 400

    def test_it_expires_after_an_hour(self, client: Client, person: User, token: str) -> None:
        MailedLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

        assert post(client, RESET, {"token": token, "password": "entirely new and long"}).status_code == 400
        person.refresh_from_db()
        assert person.check_password(PASSWORD)

    def test_a_link_for_one_purpose_does_not_serve_another(self, client: Client, person: User, token: str) -> None:
        assert post(client, VERIFY, {"token": token}).status_code == 400
        person.refresh_from_db()
        assert person.email_verified_at is None

    def test_only_the_hash_is_kept_and_no_event_carries_address_or_token(self, person: User, token: str) -> None:
        link = MailedLink.objects.get()
        assert token not in f"{link.token_hash}{vars(link)}"
        event = Event.objects.get(type="mailed_link.requested")
        assert event.payload == {"purpose": "reset_password"}

    def test_a_suspended_person_cannot_use_it(self, client: Client, person: User, token: str) -> None:
        User.objects.update(is_active=False)

        assert post(client, RESET, {"token": token, "password": "entirely new and long"}).status_code == 400

    def test_an_unknown_address_gets_the_same_answer_the_same_writes_and_no_mail(
        self, client: Client, person: User, send_mails
    ) -> None:
        known = post(client, FORGOT, {"email": person.email})

        unknown = post(client, FORGOT, {"email": "nobody@example.com"})

        assert (unknown.status_code, unknown.content) == (known.status_code, known.content)
        assert MailedLink.objects.count() == 2
        assert [message.to for message in send_mails()] == [["ada@example.com"]]
        assert not MailedLink.objects.filter(sent_at__isnull=True).exists()


class TestSendingMails:
    def test_a_mail_whose_task_was_lost_is_found_again(self, client: Client, person: User) -> None:
        post(client, FORGOT, {"email": person.email})
        assert lost_links() == []

        with time_machine.travel(timezone.now() + timedelta(minutes=3), tick=False):
            MailedLink.objects.update(created_at=timezone.now() - timedelta(minutes=6))
            assert resend_lost_mail() == 1

        assert [message.to for message in mail.outbox] == [["ada@example.com"]]
        assert resend_lost_mail() == 0

    def test_sending_twice_sends_one(self, client: Client, person: User) -> None:
        post(client, FORGOT, {"email": person.email})
        link = MailedLink.objects.get()

        assert [send_link(link_id=link.id), send_link(link_id=link.id)] == [True, False]
        assert len(mail.outbox) == 1

    def test_a_mail_server_that_fails_leaves_the_mail_to_be_sent(
        self, client: Client, person: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        post(client, FORGOT, {"email": person.email})
        link = MailedLink.objects.get()
        with monkeypatch.context() as patch:
            patch.setattr(EmailBackend, "send_messages", _fail)
            with pytest.raises(ConnectionRefusedError):
                send_link(link_id=link.id)
        link.refresh_from_db()
        assert link.sent_at is None

        assert send_link(link_id=link.id)
        assert len(mail.outbox) == 1

    def test_expired_mails_are_not_sent_and_forgotten_after_a_week(self, client: Client, person: User) -> None:
        post(client, FORGOT, {"email": person.email})
        link = MailedLink.objects.get()
        MailedLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert not send_link(link_id=link.id)
        assert forget_old_links() == 0

        MailedLink.objects.update(expires_at=timezone.now() - timedelta(days=8))
        assert forget_old_links() == 1


def _fail(*_: object) -> None:
    raise ConnectionRefusedError("no mail server")
