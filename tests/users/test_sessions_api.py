"""/api/v3/users/me and sessions; another of one's organizations; addresses behind proxies."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client, RequestFactory
from django.utils import timezone

from apps.core.api.clients import client_ip
from apps.core.errors import NotAuthenticated
from apps.users.api.authentication import authenticate_request
from apps.users.errors import KeyUnknown
from apps.users.models import Membership, User, UserSession
from apps.users.services.expiring import forget_expired_credentials
from tests.factories.users import ApiKeyFactory, MembershipFactory, UserFactory
from tests.users.client import Browser, bearer, log_in

pytestmark = pytest.mark.django_db

ME = "/api/v3/users/me"
SESSIONS = "/api/v3/users/me/sessions"


@pytest.fixture
def tokens(person: User) -> dict[str, str]:
    return log_in(Client(), person.email, **{"User-Agent": "first"}).json()


class TestMe:
    def test_it_says_who_where_and_what(self, tokens: dict[str, str], person: User) -> None:
        me = Client().get(ME, headers=bearer(tokens["access_token"])).json()

        here = person.default_organization
        assert me == {
            "id": person.public_id,
            "email": "ada@example.com",
            "name": person.name,
            "is_staff": False,
            "is_email_verified": False,
            "created_at": me["created_at"],
            "organization_id": here.public_id,
            "role": "owner",
            "scopes": me["scopes"],
            "memberships": [
                {
                    "organization_id": here.public_id,
                    "organization_name": here.name,
                    "is_personal": False,
                    "role": "owner",
                }
            ],
        }
        assert {"users:write", "gateway:use", "audit:read"} <= set(me["scopes"])

    def test_another_organization_is_picked_by_a_header(self, tokens: dict[str, str], person: User) -> None:
        other = MembershipFactory(user=person, role="viewer")

        me = (
            Client()
            .get(ME, headers=bearer(tokens["access_token"]) | {"X-Organization": other.organization.public_id})
            .json()
        )

        assert (me["organization_id"], me["role"]) == (other.organization.public_id, "viewer")

    @pytest.mark.parametrize("which", ["foreign", "missing"])
    def test_the_organization_of_others_is_refused(self, tokens: dict[str, str], which: str) -> None:
        named = {"foreign": MembershipFactory().organization.public_id, "missing": "org_01h455vb4pex5vsknk084sn02q"}

        refused = Client().get(ME, headers=bearer(tokens["access_token"]) | {"X-Organization": named[which]})

        assert (refused.status_code, refused.json()["code"]) == (403, "users.organization_unknown")

    def test_a_malformed_organization_is_bad_input(self, tokens: dict[str, str]) -> None:
        refused = Client().get(ME, headers=bearer(tokens["access_token"]) | {"X-Organization": "nonsense"})

        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_id")

    def test_changing_oneself_changes_only_what_may_be_changed(self, tokens: dict[str, str], person: User) -> None:
        other = MembershipFactory(user=person).organization

        answer = Client().patch(
            ME,
            {"name": "Countess", "default_organization_id": other.public_id, "is_staff": True, "email": "x@y.z"},
            content_type="application/json",
            headers=bearer(tokens["access_token"]),
        )

        assert answer.status_code == 200
        assert answer.json()["name"] == "Countess"
        person.refresh_from_db()
        assert (person.default_organization, person.is_staff, person.email) == (other, False, "ada@example.com")

    def test_a_foreign_organization_cannot_become_the_default(self, tokens: dict[str, str], person: User) -> None:
        answer = Client().patch(
            ME,
            {"default_organization_id": MembershipFactory().organization.public_id},
            content_type="application/json",
            headers=bearer(tokens["access_token"]),
        )

        assert answer.status_code == 404

    def test_somebody_without_any_organization_still_sees_themselves(self) -> None:
        loner = UserFactory()
        tokens = log_in(Client(), loner.email).json()

        me = Client().get(ME, headers=bearer(tokens["access_token"])).json()

        assert (me["id"], me["organization_id"], me["role"], me["memberships"]) == (loner.public_id, None, "", [])
        refused = Client().get("/api/v3/users/me/api-keys", headers=bearer(tokens["access_token"]))
        assert (refused.status_code, refused.json()["code"]) == (403, "users.role_too_low")

    def test_nobody_is_asked_to_show_something(self) -> None:
        refused = Client().get(ME)

        assert (refused.status_code, refused.json()["code"]) == (401, "not_authenticated")


class TestSessions:
    def test_they_are_listed_newest_first_and_the_present_one_is_marked(
        self, tokens: dict[str, str], person: User
    ) -> None:
        second = log_in(Client(), person.email, **{"User-Agent": "second"}).json()
        ended = log_in(Client(), person.email).json()
        Client().post("/api/v3/auth/logout", headers=bearer(ended["access_token"]))

        answer = Client().get(SESSIONS, headers=bearer(second["access_token"])).json()

        assert [(item["id"], item["device"], item["is_current"]) for item in answer["items"]] == [
            (second["session_id"], "second", True),
            (tokens["session_id"], "first", False),
        ]
        assert (answer["next"], answer["previous"]) == (None, None)

    def test_one_ends_another(self, tokens: dict[str, str], person: User) -> None:
        second = log_in(Client(), person.email).json()

        answer = Client().delete(
            f"/api/v3/users/{person.public_id}/sessions/{tokens['session_id']}", headers=bearer(second["access_token"])
        )

        assert answer.status_code == 204
        assert Client().get(ME, headers=bearer(tokens["access_token"])).status_code == 401
        assert Client().get(ME, headers=bearer(second["access_token"])).status_code == 200

    def test_those_of_others_are_not_there_even_for_administrators(self, tokens: dict[str, str], person: User) -> None:
        colleague = MembershipFactory(organization=person.default_organization)
        theirs = log_in(Client(), colleague.user.email).json()
        path = f"/api/v3/users/{colleague.user.public_id}/sessions"
        headers = bearer(tokens["access_token"])

        answers = [
            Client().get(path, headers=headers),
            Client().delete(f"{path}/{theirs['session_id']}", headers=headers),
            Client().delete(f"{SESSIONS}/{theirs['session_id']}", headers=headers),
            Client().delete(f"{SESSIONS}/nonsense", headers=headers),
            Client().get("/api/v3/users/nonsense/sessions", headers=headers),
        ]

        assert [answer.status_code for answer in answers] == [404] * 5
        assert Client().get(ME, headers=bearer(theirs["access_token"])).status_code == 200

    def test_last_seen_is_written_once_a_minute(self, tokens: dict[str, str]) -> None:
        session = UserSession.objects.get()
        Client().get(ME, headers=bearer(tokens["access_token"]))
        assert UserSession.objects.get().last_seen_at == session.last_seen_at

        UserSession.objects.update(last_seen_at=timezone.now() - timedelta(seconds=61))
        Client().get(ME, headers=bearer(tokens["access_token"]), REMOTE_ADDR="192.0.2.9")

        seen = UserSession.objects.get()
        assert seen.last_seen_at > session.last_seen_at
        assert seen.ip_address == "192.0.2.9"

    def test_what_ended_a_month_ago_is_forgotten(self, tokens: dict[str, str], logged_in: Client) -> None:
        logged_in.get("/account")
        assert forget_expired_credentials() == 0
        UserSession.objects.filter(kind="token").update(expires_at=timezone.now() - timedelta(days=31))

        forget_expired_credentials()

        assert [session.kind for session in UserSession.objects.all()] == ["web"]


class TestTheWebSessionOnTheApi:
    def test_writing_needs_the_csrf_token(self, browser: Browser, person: User) -> None:
        browser.log_in(person.email)
        change = {"name": "Countess"}

        refused = browser.patch(ME, change, content_type="application/json")
        assert (refused.status_code, refused.json()["code"]) == (403, "users.csrf_refused")
        accepted = browser.patch(
            ME, change, content_type="application/json", headers={"X-CSRFToken": browser.cookies["csrftoken"].value}
        )
        assert accepted.status_code == 200

    def test_reading_does_not(self, browser: Browser, person: User) -> None:
        browser.log_in(person.email)

        assert browser.get(ME).json()["id"] == person.public_id


class TestPlainViews:
    def test_a_key_is_recognized(self, member: Membership) -> None:
        key, secret = ApiKeyFactory.with_secret(membership=member)
        request = RequestFactory().get("/", headers=bearer(secret))

        actor = authenticate_request(request)

        assert (actor.api_key_id, actor.user_id) == (key.id, member.user_id)
        assert request.actor == actor

    @pytest.mark.parametrize(("headers", "error"), [({}, NotAuthenticated), (bearer("x" * 40), KeyUnknown)])
    def test_nobody_is_refused(self, headers: dict[str, str], error: type[Exception]) -> None:
        with pytest.raises(error):
            authenticate_request(RequestFactory().get("/", headers=headers))


class TestAddresses:
    @pytest.mark.parametrize(
        ("peer", "forwarded", "found"),
        [
            ("192.0.2.1", "", "192.0.2.1"),
            ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
            ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("10.0.0.1", "198.51.100.7, 203.0.113.9", "203.0.113.9"),
            ("10.0.0.1", "198.51.100.7, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", "nonsense", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
            ("", "203.0.113.9", ""),
        ],
    )
    def test_only_trusted_proxies_are_believed(self, settings, peer: str, forwarded: str, found: str) -> None:
        settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
        request = RequestFactory().get("/", REMOTE_ADDR=peer, headers={"X-Forwarded-For": forwarded})

        assert client_ip(request) == found
