"""The web pages: in, out, account, keys."""

from __future__ import annotations

import re

import pytest
from django.conf import settings
from django.core import mail
from django.test import Client

from apps.core.actor import system_actor
from apps.users.models import ApiKey, MailedLink, User, UserSession
from apps.users.selectors import find_key
from apps.users.services.accounts import suspend_user
from apps.users.services.mailing import send_link
from apps.users.services.sessions import hash_token
from tests.factories.users import PASSWORD, ApiKeyFactory, MembershipFactory, OAuthClientFactory, UserFactory
from tests.users.client import Browser, bearer, log_in
from tests.users.oauth_flow import Flow

pytestmark = pytest.mark.django_db

PUBLIC = ["/login", "/register", "/forgot-password"]
PRIVATE = ["/account", "/keys"]


def link_to(user: User) -> str:
    """Return the token of the mail that was asked for."""
    send_link(link_id=MailedLink.objects.get(user=user).id)
    found = re.search(r"token=([\w-]+)", mail.outbox[-1].body)
    assert found
    return found[1]


@pytest.mark.parametrize("path", PUBLIC)
def test_public_pages_open_without_inline_scripts_or_styles(browser: Browser, path: str) -> None:
    response = browser.get(path)

    assert response.status_code == 200
    html = response.content.decode()
    assert not re.search(r"\son\w+=|style=|<style|javascript:", html)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html))
    assert "<h1>" in html


@pytest.mark.parametrize("path", PRIVATE)
def test_private_pages_ask_to_log_in(browser: Browser, logged_in: Client, path: str) -> None:
    assert browser.get(path).headers["Location"] == f"/login?next={path}"

    html = logged_in.get(path).content.decode()
    assert not re.search(r"\son\w+=|style=|<style|javascript:", html)


class TestLoggingIn:
    def test_it_leads_back_to_where_one_wanted_to_go(self, browser: Browser, person: User) -> None:
        answer = browser.submit("/login", {"username": "ADA@example.com", "password": PASSWORD, "next": "/keys"})

        assert answer.headers["Location"] == "/keys"
        assert f"<code>{settings.SITE_URL}/v1</code>" in browser.get("/keys").content.decode()
        session = UserSession.objects.get()
        assert (session.kind, session.user, session.ip_address) == ("web", person, "127.0.0.1")

    @pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
    def test_it_never_leads_elsewhere(self, browser: Browser, person: User, target: str) -> None:
        answer = browser.submit("/login", {"username": person.email, "password": PASSWORD, "next": target})

        assert answer.headers["Location"] == "/"

    @pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com", "suspended@example.com"])
    def test_every_refusal_says_the_same(self, browser: Browser, person: User, email: str) -> None:
        UserFactory(email="suspended@example.com", is_active=False)
        password = {"ada@example.com": "wrong"}.get(email, PASSWORD)

        answer = browser.log_in(email, password)

        assert answer.status_code == 200
        assert "E-mail or password is wrong, or the address is not confirmed yet." in answer.content.decode()
        assert not UserSession.objects.exists()

    def test_the_session_id_changes(self, browser: Browser, person: User) -> None:
        browser.get("/login")
        before = browser.cookies.get("sessionid")
        browser.log_in(person.email)

        assert browser.cookies["sessionid"] != before
        cookie = browser.cookies["sessionid"]
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")

    def test_without_csrf_nobody_is_logged_in(self, browser: Browser, person: User) -> None:
        assert browser.post("/login", {"username": person.email, "password": PASSWORD}).status_code == 403

    def test_logging_out_ends_the_session(self, browser: Browser, person: User) -> None:
        browser.log_in(person.email)
        assert browser.get("/logout").status_code == 405

        browser.submit("/account", {}, action="/logout")

        assert browser.get("/account").status_code == 302
        assert UserSession.objects.get().revoked_because == "logout"

    def test_logging_in_as_somebody_else_ends_the_first_session(self, person: User) -> None:
        client = Client()
        client.force_login(person)
        client.get("/account")
        other = UserFactory()
        client.post("/admin/login/", {"username": other.email, "password": PASSWORD})
        client.force_login(other)
        client.get("/account")

        assert UserSession.objects.live().filter(user=other).count() == 1


class TestSessions:
    def test_suspension_logs_out_at_the_next_request(self, logged_in: Client, person: User) -> None:
        assert logged_in.get("/account").status_code == 200

        suspend_user(user=person, actor=system_actor())

        assert logged_in.get("/account").status_code == 302
        assert logged_in.get("/api/v3/users/me").status_code == 401

    def test_one_browser_ends_another(self, browser: Browser, logged_in: Client, person: User) -> None:
        logged_in.get("/account")
        browser.log_in(person.email)
        other = UserSession.objects.order_by("id").first()
        assert other

        browser.submit("/account", {}, action=f"/account/sessions/{other.public_id}/end")

        assert logged_in.get("/account").status_code == 302
        assert browser.get("/account").status_code == 200
        other.refresh_from_db()
        assert other.revoked_because == "revoked"

    @pytest.mark.parametrize("session_id", ["sess_01h455vb4pex5vsknk084sn02q", "nonsense"])
    def test_nobody_ends_what_is_not_theirs(self, logged_in: Client, session_id: str) -> None:
        stranger = Client()
        stranger.force_login(UserFactory())
        stranger.get("/account")
        theirs = UserSession.objects.get()

        assert logged_in.post(f"/account/sessions/{theirs.public_id}/end").status_code == 404
        assert logged_in.post(f"/account/sessions/{session_id}/end").status_code == 404
        assert stranger.get("/account").status_code == 200

    def test_a_bearer_starts_no_web_session(self, person: User) -> None:
        tokens = log_in(Client(), person.email).json()
        client = Client()

        client.get("/api/v3/users/me", headers=bearer(tokens["access_token"]))

        assert "sessionid" not in client.cookies
        assert UserSession.objects.filter(kind="web").count() == 0


class TestAccount:
    def test_a_consent_is_taken_back(self, logged_in: Client, person: User) -> None:
        flow = Flow(*OAuthClientFactory.with_secret(name="Summaries"), logged_in)
        tokens = flow.exchange(flow.code()).json()
        assert "Summaries" in logged_in.get("/account").content.decode()
        path = f"/account/clients/{flow.client.public_id}/end"
        stranger = Client()
        stranger.force_login(UserFactory())
        assert stranger.post(path).status_code == 404

        assert logged_in.post(path).status_code == 302

        assert Client().get("/api/v3/users/me", headers=bearer(tokens["access_token"])).status_code == 401
        assert flow.refresh(tokens["refresh_token"]).status_code == 400
        assert "Summaries" not in logged_in.get("/account").content.decode().split("messages")[-1].split("<main")[-1]

    @pytest.mark.parametrize(
        ("agent", "name"),
        [
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "Chrome on Linux"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iPhone"),
            ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
            ("python-httpx/0.28 extra", "python-httpx/0.28"),
            ("", "Unknown device"),
        ],
    )
    def test_devices_have_short_names(self, agent: str, name: str) -> None:
        assert UserSession(device=agent).device_name == name

    def test_the_profile_is_saved(self, browser: Browser, person: User) -> None:
        browser.log_in(person.email)
        elsewhere = MembershipFactory(user=person).organization

        browser.submit(
            "/account", {"name": "Countess", "default_organization": elsewhere.pk}, action="/account/profile"
        )

        person.refresh_from_db()
        assert (person.name, person.default_organization) == ("Countess", elsewhere)

    def test_an_organization_of_others_cannot_be_chosen(self, browser: Browser, person: User) -> None:
        browser.log_in(person.email)
        foreign = MembershipFactory().organization

        answer = browser.submit(
            "/account", {"name": "x", "default_organization": foreign.pk}, action="/account/profile"
        )

        assert answer.status_code == 422
        person.refresh_from_db()
        assert person.name != "x"

    def test_a_new_password_keeps_this_session_and_ends_the_others(self, browser: Browser, person: User) -> None:
        other, program = Browser(), log_in(Client(), person.email).json()
        other.log_in(person.email)
        browser.log_in(person.email)

        answer = browser.submit(
            "/account",
            {"current_password": PASSWORD, "new_password": "entirely new and long"},
            action="/account/password",
        )

        assert answer.status_code == 302
        assert browser.get("/account").status_code == 200
        assert other.get("/account").status_code == 302
        assert Client().get("/api/v3/users/me", headers=bearer(program["access_token"])).status_code == 401
        assert log_in(Client(), person.email, "entirely new and long").status_code == 200

    @pytest.mark.parametrize(
        ("current", "new", "sentence"),
        [
            ("wrong", "entirely new and long", "The present password is wrong."),
            (PASSWORD, "short", "too short"),
            (PASSWORD, "", "This field is required."),
        ],
    )
    def test_what_is_wrong_is_said_and_changes_nothing(
        self, browser: Browser, person: User, current: str, new: str, sentence: str
    ) -> None:
        browser.log_in(person.email)

        answer = browser.submit(
            "/account", {"current_password": current, "new_password": new}, action="/account/password"
        )

        assert answer.status_code == 422
        assert sentence in answer.content.decode()
        person.refresh_from_db()
        assert person.check_password(PASSWORD)

    def test_guessing_the_present_password_is_throttled(self, browser: Browser, person: User) -> None:
        browser.log_in(person.email)
        guess = {"current_password": "wrong", "new_password": "entirely new and long"}

        pages = [browser.submit("/account", guess, action="/account/password").content.decode() for _ in range(11)]

        assert "Too many attempts" in pages[-1]


class TestRegisteringAndResetting:
    NEW = {"email": "grace@example.com", "name": "Grace", "password": "the nanosecond is this long"}

    def test_registering_leads_to_the_login_page_with_the_same_words_for_a_taken_address(
        self, browser: Browser
    ) -> None:
        pages = [browser.submit("/register", self.NEW, follow=True).content.decode() for _ in range(2)]

        for html in pages:
            assert "If the address was free, your account is ready: log in." in html
        assert User.objects.count() == 1
        assert browser.log_in(self.NEW["email"], self.NEW["password"]).status_code == 302

    def test_a_weak_password_is_said_at_the_field(self, browser: Browser) -> None:
        html = browser.submit("/register", self.NEW | {"password": "short"}).content.decode()

        assert "This password is too short" in html
        assert not User.objects.exists()

    def test_closed_registration_says_so(self, browser: Browser, settings) -> None:
        settings.REGISTRATION_OPEN = False

        assert browser.get("/register").status_code == 403
        assert "Create an account" not in browser.get("/login").content.decode()

    def test_confirming_takes_a_click(self, browser: Browser, settings) -> None:
        settings.EMAIL_VERIFICATION_REQUIRED = True
        browser.submit("/register", self.NEW)
        user = User.objects.get()
        token = link_to(user)

        for _ in range(2):
            assert browser.get(f"/verify-email?token={token}").status_code == 200
        user.refresh_from_db()
        assert user.email_verified_at is None
        browser.submit(f"/verify-email?token={token}", {"token": token})

        user.refresh_from_db()
        assert user.email_verified_at is not None
        assert browser.get(f"/verify-email?token={token}").status_code == 400

    def test_a_forgotten_password_is_set_anew(self, browser: Browser, person: User) -> None:
        browser.submit("/forgot-password", {"email": person.email})
        token = link_to(person)

        html = browser.submit(f"/reset-password?token={token}", {"token": token, "password": "short"}).content
        assert b"too short" in html
        answer = browser.submit(f"/reset-password?token={token}", {"token": token, "password": "entirely new and long"})

        assert answer.headers["Location"] == "/login"
        assert browser.log_in(person.email, "entirely new and long").status_code == 302
        assert browser.get(f"/reset-password?token={token}").status_code in {302, 400}

    def test_a_link_used_in_two_windows_works_in_one(self, browser: Browser, person: User) -> None:
        browser.submit("/forgot-password", {"email": person.email})
        token = link_to(person)
        other = Browser()
        page = other.get(f"/reset-password?token={token}").content.decode()
        csrf = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert csrf
        browser.submit(f"/reset-password?token={token}", {"token": token, "password": "entirely new and long"})

        answer = other.post(
            "/reset-password",
            {"csrfmiddlewaretoken": csrf[1], "token": token, "password": "mine instead of theirs"},
        )

        assert "The link is unknown, expired or was used before." in answer.content.decode()
        person.refresh_from_db()
        assert person.check_password("entirely new and long")

    def test_nonsense_is_no_link(self, browser: Browser) -> None:
        assert browser.get("/reset-password?token=nonsense").status_code == 400
        assert browser.get("/verify-email").status_code == 400
        assert MailedLink.objects.filter(token_hash=hash_token("nonsense")).count() == 0


class TestKeys:
    def test_a_secret_is_shown_once(self, browser: Browser, person: User) -> None:
        browser.log_in(person.email)

        answer = browser.submit(
            "/keys",
            {
                "name": "Laptop",
                "scopes": ["gateway:use"],
                "allowed_models": "gpt-4o, gpt-4o-mini,",
                "requests_per_minute": "5",
                "expires_on": "2099-12-31",
            },
        )

        html = answer.content.decode()
        secret = re.search(r"pk_live_\w{33}", html)
        assert secret
        assert answer.headers["Cache-Control"] == "no-store"
        key = find_key(secret[0])
        assert (key.name, key.user, key.organization) == ("Laptop", person, person.default_organization)
        assert (key.scopes, key.allowed_models, key.requests_per_minute) == (
            ["gateway:use"],
            ["gpt-4o", "gpt-4o-mini"],
            5,
        )
        assert key.expires_at is not None
        assert key.expires_at.isoformat() == "2099-12-31T23:59:59.999999+00:00"
        assert secret[0] not in browser.get("/keys").content.decode()

    @pytest.mark.parametrize("change", [{"name": ""}, {"scopes": ["everything"]}, {"expires_on": "2020-01-01"}])
    def test_what_is_wrong_is_said(self, browser: Browser, person: User, change: dict[str, object]) -> None:
        browser.log_in(person.email)

        assert browser.submit("/keys", {"name": "x"} | change).status_code == 422
        assert not ApiKey.objects.exists()

    def test_somebody_without_an_organization_is_told(self, browser: Browser) -> None:
        loner = UserFactory()
        browser.log_in(loner.email)

        answer = browser.submit("/keys", {"name": "x"})

        assert "You belong to no organization" in answer.content.decode()

    def test_rotating_and_revoking(self, browser: Browser, person: User) -> None:
        browser.log_in(person.email)
        key, old = ApiKeyFactory.with_secret(user=person, organization=person.default_organization)

        html = browser.submit("/keys", {}, action=f"/keys/{key.public_id}/rotate").content.decode()
        new = re.search(r"pk_live_\w{33}", html)
        assert new
        assert find_key(new[0]) == find_key(old) == key

        browser.submit("/keys", {}, action=f"/keys/{key.public_id}/revoke")
        key.refresh_from_db()
        assert key.revoked_at is not None
        page = browser.submit("/keys", {}, action=f"/keys/{key.public_id}/rotate", follow=True)
        assert "is revoked; make a new key" in page.content.decode()

    @pytest.mark.parametrize("verb", ["rotate", "revoke"])
    def test_keys_of_others_are_not_there(self, logged_in: Client, verb: str) -> None:
        key = ApiKeyFactory()

        assert logged_in.post(f"/keys/{key.public_id}/{verb}").status_code == 404
        assert logged_in.post(f"/keys/nonsense/{verb}").status_code == 404
        key.refresh_from_db()
        assert key.revoked_at is None
