"""/oauth: the authorization code flow, client credentials, and everything that must not work (RFC 9700)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_grant_model, get_refresh_token_model
from oauth2_provider.oauth2_validators import OAuth2Validator

from apps.core.actor import system_actor
from apps.users.choices import Role
from apps.users.errors import TokenInvalid
from apps.users.models import Membership, OAuthClient, User
from apps.users.selectors import actor_of_token
from apps.users.services.accounts import suspend_user
from apps.users.signing import signing_key
from tests.factories.users import MembershipFactory, OAuthClientFactory
from tests.support.threads import run_together
from tests.users.client import Browser, bearer
from tests.users.oauth_flow import VERIFIER, Flow, answer_of, basic, challenge_of

pytestmark = pytest.mark.django_db

ME = "/api/v3/users/me"
AccessToken, RefreshToken, Grant = get_access_token_model(), get_refresh_token_model(), get_grant_model()


@pytest.fixture
def flow(logged_in: Client) -> Flow:
    client, secret = OAuthClientFactory.with_secret(name="Summaries")
    return Flow(client, secret, logged_in)


@pytest.fixture
def tokens(flow: Flow) -> dict[str, str]:
    return flow.exchange(flow.code()).json()


@pytest.fixture
def machine() -> tuple[OAuthClient, str]:
    return OAuthClientFactory.with_secret(machine=True)


def client_credentials(client: OAuthClient, secret: str, **body: str):
    return Client().post(
        "/oauth/token", {"grant_type": "client_credentials"} | body, headers=basic(client.client_id, secret)
    )


class TestAuthorizationCode:
    def test_a_person_consents_and_the_client_acts_for_them(self, flow: Flow, person: User, settings) -> None:
        page = flow.ask(scope="openid users:read")
        html = page.content.decode()
        assert "Allow Summaries to act for you?" in html
        assert "See your profile, your sessions and the people of your organization." in html
        assert "client.example" in html
        assert "form-action 'self' https://client.example;" in page.headers["Content-Security-Policy"]

        answer = answer_of(flow.consent(scope="openid users:read"))
        assert set(answer) == {"code", "state", "iss"}
        assert (answer["state"], answer["iss"]) == ("state-of-the-browser", settings.SITE_URL)

        tokens = flow.exchange(answer["code"]).json()
        assert set(tokens) == {"access_token", "expires_in", "token_type", "scope", "refresh_token", "id_token"}
        assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
        me = Client().get(ME, headers=bearer(tokens["access_token"])).json()
        assert (me["id"], me["scopes"]) == (person.public_id, ["users:read"])

    def test_the_id_token_is_ours_and_carries_the_nonce(self, flow: Flow, person: User, settings) -> None:
        code = flow.code(scope="openid email", nonce="n-1")
        id_token = flow.exchange(code).json()["id_token"]

        claims = jwt.decode(
            id_token,
            signing_key().public_key,
            algorithms=["RS256"],
            audience=flow.client.client_id,
            issuer=settings.SITE_URL,
        )
        assert (claims["sub"], claims["email"], claims["nonce"]) == (person.public_id, person.email, "n-1")
        assert "name" not in claims
        assert Client().get(ME, headers=bearer(id_token)).status_code == 401

    def test_userinfo_says_what_the_scopes_allow(self, flow: Flow, person: User) -> None:
        token = flow.exchange(flow.code(scope="openid profile")).json()["access_token"]

        answer = Client().get("/oauth/userinfo", headers=bearer(token))

        assert answer.json() == {"sub": person.public_id, "name": person.name}

    def test_userinfo_needs_openid(self, flow: Flow, tokens: dict[str, str]) -> None:
        assert Client().get("/oauth/userinfo", headers=bearer(tokens["access_token"])).status_code in {401, 403}

    def test_only_hashes_are_stored(self, flow: Flow, tokens: dict[str, str]) -> None:
        stored = json.dumps([*AccessToken.objects.values("token"), *RefreshToken.objects.values("token")])
        assert tokens["access_token"] not in stored
        assert tokens["refresh_token"] not in stored
        assert flow.secret not in OAuthClient.objects.get().client_secret

    def test_refusing_sends_an_error_back_and_gives_nothing(self, flow: Flow, settings) -> None:
        answer = answer_of(flow.consent(allow=False))

        assert answer["error"] == "access_denied"
        assert (answer["state"], answer["iss"]) == ("state-of-the-browser", settings.SITE_URL)
        assert not Grant.objects.exists()

    def test_a_public_client_on_a_loopback_address_needs_no_secret_but_pkce(self, logged_in: Client) -> None:
        client = OAuthClientFactory(public=True, redirect_uris="http://127.0.0.1/callback", client_secret="")
        flow = Flow(client, "", logged_in)
        here = "http://127.0.0.1:53211/callback"
        code = flow.code(redirect_uri=here)

        answer = flow.machine.post(
            "/oauth/token",
            {
                "grant_type": "authorization_code",
                "client_id": client.client_id,
                "code": code,
                "redirect_uri": here,
                "code_verifier": VERIFIER,
            },
        )

        assert answer.status_code == 200

    def test_everybody_is_asked_every_time(self, flow: Flow, tokens: dict[str, str]) -> None:
        assert flow.ask(approval_prompt="auto").status_code == 200

    def test_somebody_who_is_not_logged_in_goes_through_the_login_page(self, flow: Flow, browser: Browser) -> None:
        flow.browser = browser

        answer = flow.ask()

        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/login?next=/oauth/authorize")


class TestWhatIsRefusedBeforeAnyRedirect:
    @pytest.mark.parametrize(
        "redirect_uri",
        [
            "https://client.example/callback/",
            "https://client.example/callback?x=1",
            "https://client.example/callback#",
            "https://client.example/Callback",
            "https://client.example:443/callback",
            "https://client.example.evil.example/callback",
            "https://evil@client.example/callback",
            "https://client.example/callback/../evil",
            "https://CLIENT.example/callback",
            "http://client.example/callback",
            "//client.example/callback",
            "javascript:alert(1)",
            "https://evil.example/",
            "",
        ],
    )
    def test_a_redirect_uri_that_is_not_registered_to_the_letter(self, flow: Flow, redirect_uri: str) -> None:
        answer = flow.ask(redirect_uri=redirect_uri)

        assert answer.status_code == 400
        assert "Location" not in answer.headers

    @pytest.mark.parametrize("client_id", ["unknown", "", "\0", "a' OR 1=1 --"])
    def test_an_unknown_client(self, flow: Flow, client_id: str) -> None:
        answer = flow.ask(client_id=client_id)

        assert answer.status_code == 400
        assert "Location" not in answer.headers

    def test_a_client_that_was_switched_off(self, flow: Flow) -> None:
        OAuthClient.objects.update(is_active=False)

        assert flow.ask().status_code == 400

    def test_a_client_whose_organization_was_suspended(self, flow: Flow) -> None:
        flow.client.organization.is_active = False
        flow.client.organization.save()

        assert flow.ask().status_code == 400

    @pytest.mark.parametrize("name", ["state", "client_id", "redirect_uri", "scope"])
    def test_a_parameter_that_comes_twice(self, flow: Flow, name: str) -> None:
        query = [*flow.request().items(), (name, "again")]

        answer = flow.browser.get("/oauth/authorize", query_params=query)

        assert answer.status_code == 400
        assert "Location" not in answer.headers

    def test_a_query_string_that_is_none(self, flow: Flow) -> None:
        assert flow.browser.get("/oauth/authorize?client_id=%zz&response_type=code").status_code == 400

    def test_a_post_for_an_unknown_client(self, flow: Flow) -> None:
        answer = flow.browser.post("/oauth/authorize", flow.request(client_id="unknown") | {"allow": "Authorize"})

        assert answer.status_code == 400


class TestWhatIsRefusedWithAnError:
    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"response_type": "id_token"}, "unsupported_response_type"),
            ({"response_type": "code token"}, "unsupported_response_type"),
            ({"response_type": "code id_token"}, "unsupported_response_type"),
            ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
            ({"code_challenge_method": "plain"}, "invalid_request"),
            ({"code_challenge_method": None}, "invalid_request"),
            ({"code_challenge_method": "S512"}, "invalid_request"),
            ({"scope": "users:write"}, "invalid_scope"),
            ({"scope": "users:read audit:read"}, "invalid_scope"),
            ({"scope": "*"}, "invalid_scope"),
            ({"scope": None}, "invalid_scope"),
        ],
    )
    def test_a_request_that_asks_for_too_much_or_too_little_safety(
        self, flow: Flow, changes: dict[str, str | None], error: str
    ) -> None:
        response = flow.ask(**changes)

        answer = answer_of(response)
        assert response.headers["Location"].startswith("https://client.example/callback?")
        assert answer["error"] in {error, "unauthorized_client", "invalid_request"}
        assert "code" not in answer
        assert not Grant.objects.exists()

    @pytest.mark.parametrize(
        "tamper",
        [
            {"scope": "users:read audit:read"},
            {"redirect_uri": "https://evil.example/"},
            {"code_challenge": "", "code_challenge_method": ""},
            {"code_challenge_method": "plain"},
            {"response_type": "token"},
        ],
    )
    def test_a_consent_form_that_was_tampered_with(self, flow: Flow, tamper: dict[str, str]) -> None:
        answer = flow.consent(tamper=tamper)

        assert "evil.example" not in answer.headers.get("Location", "")
        assert "code=" not in answer.headers.get("Location", "")
        assert not Grant.objects.exists()

    def test_a_consent_form_of_another_site(self, flow: Flow, person: User) -> None:
        browser = Browser()
        browser.force_login(person)

        answer = browser.post("/oauth/authorize", flow.request() | {"allow": "Authorize"})

        assert answer.status_code == 403
        assert not Grant.objects.exists()


class TestCodesThatOpenNothing:
    @pytest.mark.parametrize(
        "changes",
        [
            {"code_verifier": "another-verifier-of-at-least-forty-three-chars-01"},
            {"code_verifier": None},
            {"code_verifier": challenge_of(VERIFIER)},
            {"redirect_uri": "https://client.example/other"},
            {"code": "unknown"},
            {"code": "\0"},
            {"code": None},
            {"grant_type": "password", "username": "ada@example.com", "password": "correct horse battery staple"},
            {"grant_type": "implicit"},
            {"grant_type": "client_credentials"},
            {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "x"},
            {"grant_type": "urn:ietf:params:oauth:grant-type:device_code"},
            {"grant_type": None},
        ],
    )
    def test_a_wrong_exchange(self, flow: Flow, changes: dict[str, str | None]) -> None:
        answer = flow.exchange(flow.code(), **changes)

        assert answer.status_code in {400, 401}
        assert "access_token" not in answer.json()
        assert not AccessToken.objects.exists()

    def test_a_second_use(self, flow: Flow) -> None:
        code = flow.code()
        assert flow.exchange(code).status_code == 200

        assert flow.exchange(code).json()["error"] == "invalid_grant"

    @pytest.mark.parametrize("has_been_refreshed", [False, True])
    def test_a_second_use_takes_back_what_the_first_gave(self, flow: Flow, has_been_refreshed: bool) -> None:
        code, others = flow.code(), flow.exchange(flow.code()).json()
        given = flow.exchange(code).json()
        refreshed = [flow.refresh(given["refresh_token"]).json() for _ in range(has_been_refreshed)]
        held = [given, *refreshed][-1]
        assert Client().get(ME, headers=bearer(held["access_token"])).status_code == 200

        assert flow.exchange(code).json()["error"] == "invalid_grant"

        assert Client().get(ME, headers=bearer(held["access_token"])).status_code == 401
        assert flow.refresh(held["refresh_token"]).json()["error"] == "invalid_grant"
        assert Client().get(ME, headers=bearer(others["access_token"])).status_code == 200

    def test_another_clients_attempt_takes_nothing_back(self, flow: Flow, logged_in: Client) -> None:
        code = flow.code()
        given = flow.exchange(code).json()

        assert Flow(*OAuthClientFactory.with_secret(), logged_in).exchange(code).status_code == 400

        assert Client().get(ME, headers=bearer(given["access_token"])).status_code == 200

    def test_an_old_code(self, flow: Flow) -> None:
        code = flow.code()
        assert Grant.objects.get().expires <= timezone.now() + timedelta(seconds=60)
        Grant.objects.update(expires=timezone.now())

        assert flow.exchange(code).json()["error"] == "invalid_grant"

    def test_the_code_of_another_client(self, flow: Flow, logged_in: Client) -> None:
        other = Flow(*OAuthClientFactory.with_secret(), logged_in)

        assert other.exchange(flow.code()).json()["error"] == "invalid_grant"

    @pytest.mark.parametrize("secret", ["", "wrong", "wrong\0"])
    def test_a_client_without_its_secret(self, flow: Flow, secret: str) -> None:
        answer = flow.exchange(flow.code(), secret=secret)

        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")

    def test_a_suspended_person(self, flow: Flow, person: User) -> None:
        code = flow.code()
        suspend_user(user=person, actor=system_actor())

        assert flow.exchange(code).json()["error"] == "invalid_grant"

    def test_parameters_that_come_twice(self, flow: Flow) -> None:
        body = {"grant_type": ["authorization_code", "refresh_token"], "code": flow.code()}
        answer = Client().post("/oauth/token", body, headers=basic(flow.client.client_id, flow.secret))

        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")

    def test_the_token_endpoint_does_not_answer_get(self) -> None:
        assert Client().get("/oauth/token").status_code == 405


class TestRefreshTokens:
    def test_each_works_once_and_rotates(self, flow: Flow, tokens: dict[str, str]) -> None:
        fresh = flow.refresh(tokens["refresh_token"]).json()

        assert fresh["refresh_token"] != tokens["refresh_token"]
        assert Client().get(ME, headers=bearer(fresh["access_token"])).status_code == 200
        assert Client().get(ME, headers=bearer(tokens["access_token"])).status_code == 401

    def test_a_second_use_takes_everything_from_both(self, flow: Flow, tokens: dict[str, str]) -> None:
        fresh = flow.refresh(tokens["refresh_token"]).json()

        assert flow.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"

        assert Client().get(ME, headers=bearer(fresh["access_token"])).status_code == 401
        assert flow.refresh(fresh["refresh_token"]).json()["error"] == "invalid_grant"

    def test_scopes_cannot_grow(self, flow: Flow, tokens: dict[str, str]) -> None:
        assert flow.refresh(tokens["refresh_token"], scope="users:read gateway:use").json()["error"] == "invalid_scope"

    def test_another_client_cannot_use_it(self, flow: Flow, tokens: dict[str, str], logged_in: Client) -> None:
        other = Flow(*OAuthClientFactory.with_secret(), logged_in)

        assert other.refresh(tokens["refresh_token"]).status_code == 400
        assert flow.refresh(tokens["refresh_token"]).status_code == 200

    def test_it_expires(self, flow: Flow, tokens: dict[str, str]) -> None:
        AccessToken.objects.update(expires=timezone.now() - timedelta(days=31))

        assert flow.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"

    def test_a_suspended_person_gets_no_more(self, flow: Flow, tokens: dict[str, str], person: User) -> None:
        suspend_user(user=person, actor=system_actor())

        assert flow.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"

    def test_an_access_token_is_none(self, flow: Flow, tokens: dict[str, str]) -> None:
        assert flow.refresh(tokens["access_token"]).json()["error"] == "invalid_grant"


@pytest.mark.django_db(transaction=True)
def test_of_two_refreshes_at_once_nobody_keeps_the_family(flow: Flow) -> None:
    tokens = flow.exchange(flow.code()).json()

    answers = run_together(lambda: flow.refresh(tokens["refresh_token"]), count=2)

    assert sorted(answer.status_code for answer in answers) == [200, 400]
    won = next(answer.json() for answer in answers if answer.status_code == 200)
    assert won["access_token"]
    assert Client().get(ME, headers=bearer(won["access_token"])).status_code == 401
    assert flow.refresh(won["refresh_token"]).status_code == 400


@pytest.mark.django_db(transaction=True)
def test_of_two_exchanges_at_once_one_gets_tokens_and_loses_them(flow: Flow) -> None:
    code = flow.code()

    answers = run_together(lambda: flow.exchange(code), count=2)

    assert sorted(answer.status_code for answer in answers) == [200, 400]
    won = next(answer.json() for answer in answers if answer.status_code == 200)
    assert Client().get(ME, headers=bearer(won["access_token"])).status_code == 401
    assert flow.refresh(won["refresh_token"]).status_code == 400


@pytest.mark.parametrize("step", ["get_code_challenge", "get_code_challenge_method", "confirm_redirect_uri"])
def test_an_exchange_that_is_overtaken_half_way_is_refused_and_takes_the_tokens_back(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    code, won = flow.code(), []
    look = getattr(OAuth2Validator, step)

    with monkeypatch.context() as patched:

        def be_overtaken(*args: Any, **kwargs: Any) -> Any:
            patched.undo()
            won.append(flow.exchange(code).json())
            return look(*args, **kwargs)

        patched.setattr(OAuth2Validator, step, be_overtaken)
        refused = flow.exchange(code)

    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert Client().get(ME, headers=bearer(won[0]["access_token"])).status_code == 401
    assert flow.refresh(won[0]["refresh_token"]).status_code == 400


class TestRevocation:
    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    def test_it_takes_hold_at_the_next_request(self, flow: Flow, tokens: dict[str, str], kind: str) -> None:
        headers = basic(flow.client.client_id, flow.secret)
        assert Client().post("/oauth/revoke", {"token": tokens[kind]}, headers=headers).status_code == 200

        assert Client().get(ME, headers=bearer(tokens["access_token"])).status_code == 401
        assert flow.refresh(tokens["refresh_token"]).status_code == 400

    def test_another_client_cannot(self, flow: Flow, tokens: dict[str, str]) -> None:
        other, secret = OAuthClientFactory.with_secret()
        body = {"token": tokens["access_token"]}
        assert Client().post("/oauth/revoke", body, headers=basic(other.client_id, secret)).status_code == 200

        assert Client().get(ME, headers=bearer(tokens["access_token"])).status_code == 200

    def test_nobody_cannot(self, flow: Flow, tokens: dict[str, str]) -> None:
        assert Client().post("/oauth/revoke", {"token": tokens["access_token"]}).status_code == 401
        assert Client().get(ME, headers=bearer(tokens["access_token"])).status_code == 200

    @pytest.mark.parametrize(
        "end",
        [
            lambda flow: OAuthClient.objects.update(is_active=False),
            lambda flow: flow.client.organization.__class__.objects.update(is_active=False),
            lambda flow: User.objects.update(is_active=False),
            lambda flow: Membership.objects.all().delete(),
            lambda flow: OAuthClient.objects.update(allowed_scopes=[]),
            lambda flow: AccessToken.objects.update(expires=timezone.now()),
        ],
    )
    def test_so_does_everything_else_that_ends_a_token(self, flow: Flow, tokens: dict[str, str], end) -> None:
        assert Client().get(ME, headers=bearer(tokens["access_token"])).status_code == 200

        end(flow)

        assert Client().get(ME, headers=bearer(tokens["access_token"])).status_code in {401, 403}


class TestClientCredentials:
    def test_a_machine_acts_in_its_organization_with_its_users_role(self, machine: tuple[OAuthClient, str]) -> None:
        client, secret = machine
        tokens = client_credentials(client, secret).json()

        assert set(tokens) == {"access_token", "expires_in", "token_type", "scope"}
        assert tokens["scope"].split() == ["users:read", "models:read", "gateway:use"]
        actor = actor_of_token(tokens["access_token"])
        assert (actor.kind, actor.organization_id, actor.user_id, actor.role, actor.oauth_client_id) == (
            "oauth_client",
            client.organization_id,
            client.user_id,
            Role.MEMBER,
            client.client_id,
        )
        assert actor.scopes == {"users:read", "models:read", "gateway:use"}

    def test_it_may_ask_for_less(self, machine: tuple[OAuthClient, str]) -> None:
        tokens = client_credentials(*machine, scope="gateway:use").json()

        refused = Client().get(ME, headers=bearer(tokens["access_token"]))
        assert (refused.status_code, refused.json()["code"]) == (403, "users.scope_missing")

    @pytest.mark.parametrize("scope", ["audit:read", "gateway:use audit:read", "*", "openid", "email"])
    def test_it_may_not_ask_for_more(self, machine: tuple[OAuthClient, str], scope: str) -> None:
        assert client_credentials(*machine, scope=scope).json()["error"] == "invalid_scope"
        assert not AccessToken.objects.exists()

    def test_it_gets_no_refresh_token_and_no_person(self, machine: tuple[OAuthClient, str]) -> None:
        tokens = client_credentials(*machine).json()

        assert not RefreshToken.objects.exists()
        assert Client().get("/oauth/userinfo", headers=bearer(tokens["access_token"])).status_code in {401, 403}

    def test_a_client_for_people_cannot(self, flow: Flow) -> None:
        assert client_credentials(flow.client, flow.secret).json()["error"] == "unauthorized_client"

    def test_another_organization_cannot_be_named(self, machine: tuple[OAuthClient, str]) -> None:
        client, secret = machine
        other = MembershipFactory(user=client.user)
        token = client_credentials(client, secret).json()["access_token"]

        refused = Client().get(ME, headers=bearer(token) | {"X-Organization": other.organization.public_id})

        assert (refused.status_code, refused.json()["code"]) == (403, "users.organization_unknown")

    def test_a_token_in_the_query_string_opens_nothing(self, machine: tuple[OAuthClient, str]) -> None:
        token = client_credentials(*machine).json()["access_token"]

        assert Client().get(f"{ME}?access_token={token}").status_code == 401
        assert Client().get(f"/oauth/userinfo?access_token={token}").status_code in {401, 403}

    def test_an_unknown_token_stands_for_nobody(self, db: None) -> None:
        for token in ("unknown", "x" * 5000):
            with pytest.raises(TokenInvalid):
                actor_of_token(token)


class TestIntrospection:
    def introspect(self, client: OAuthClient, secret: str, token: str) -> dict[str, object]:
        return Client().post("/oauth/introspect", {"token": token}, headers=basic(client.client_id, secret)).json()

    def test_a_client_of_the_same_organization_learns_ids(self, flow: Flow, tokens: dict[str, str], person) -> None:
        answer = self.introspect(flow.client, flow.secret, tokens["access_token"])

        assert answer["active"] is True
        assert (answer["sub"], answer["client_id"], answer["scope"]) == (
            person.public_id,
            flow.client.client_id,
            "users:read",
        )
        assert person.email not in json.dumps(answer)

    def test_one_of_another_organization_learns_nothing(self, tokens: dict[str, str]) -> None:
        assert self.introspect(*OAuthClientFactory.with_secret(), tokens["access_token"]) == {"active": False}

    @pytest.mark.parametrize("token", ["", "unknown"])
    def test_an_unknown_token_is_inactive(self, flow: Flow, token: str) -> None:
        assert self.introspect(flow.client, flow.secret, token) == {"active": False}

    def test_the_token_of_a_suspended_person_is_inactive(self, flow: Flow, tokens, person: User) -> None:
        suspend_user(user=person, actor=system_actor())

        assert self.introspect(flow.client, flow.secret, tokens["access_token"]) == {"active": False}

    def test_nobody_and_public_clients_may_not_ask(self, tokens: dict[str, str]) -> None:
        public, secret = OAuthClientFactory.with_secret(public=True)
        for headers in ({}, basic("unknown", "x"), basic(public.client_id, secret), bearer(tokens["access_token"])):
            answer = Client().post("/oauth/introspect", {"token": tokens["access_token"]}, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


class TestRegistrationOfClients:
    @pytest.mark.parametrize("grant", ["implicit", "password", "openid-hybrid"])
    def test_unsafe_grants_cannot_be_stored(self, grant: str) -> None:
        with pytest.raises(IntegrityError):
            OAuthClientFactory(authorization_grant_type=grant)

    @pytest.mark.parametrize("changes", [{"public": True}, {"user": None}])
    def test_a_machine_is_confidential_and_has_a_user(self, changes: dict[str, object]) -> None:
        with pytest.raises(IntegrityError):
            OAuthClientFactory(machine=True, **changes)

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"redirect_uris": "http://client.example/callback"}, "redirect_uris"),
            ({"redirect_uris": "https://*.example/callback"}, "redirect_uris"),
            ({"redirect_uris": "https://client.example/#x"}, "redirect_uris"),
            ({"redirect_uris": "https://me@client.example/"}, "redirect_uris"),
            ({"redirect_uris": "javascript:alert(1)"}, "redirect_uris"),
            ({"redirect_uris": ""}, "redirect_uris"),
            ({"allowed_scopes": ["everything"]}, "allowed_scopes"),
            ({"authorization_grant_type": "client-credentials", "client_type": "public"}, "client_type"),
            ({"authorization_grant_type": "client-credentials", "user": None}, "user"),
            ({"authorization_grant_type": "client-credentials", "allowed_scopes": []}, "allowed_scopes"),
        ],
    )
    def test_what_does_not_fit_is_refused_by_field(self, changes: dict[str, object], field: str) -> None:
        client = OAuthClientFactory.build(membership=MembershipFactory(), **changes)

        with pytest.raises(ValidationError) as caught:
            client.clean()

        assert field in caught.value.message_dict

    def test_https_and_loopback_fit(self) -> None:
        OAuthClientFactory.build(
            membership=MembershipFactory(),
            redirect_uris="https://client.example/cb http://127.0.0.1/cb http://[::1]/cb",
        ).clean()


class TestDiscovery:
    @pytest.mark.parametrize("path", ["openid-configuration", "oauth-authorization-server"])
    def test_the_document_promises_only_what_is_allowed(self, path: str, settings) -> None:
        document = Client().get(f"/.well-known/{path}").json()

        assert document["issuer"] == settings.SITE_URL
        assert document["response_types_supported"] == ["code"]
        assert document["grant_types_supported"] == ["authorization_code", "refresh_token", "client_credentials"]
        assert document["code_challenge_methods_supported"] == ["S256"]
        assert document["authorization_response_iss_parameter_supported"] is True

    @pytest.mark.parametrize("name", ["authorization", "token", "revocation", "introspection", "userinfo"])
    def test_every_endpoint_it_names_is_there(self, name: str, settings) -> None:
        document = Client().get("/.well-known/openid-configuration").json()

        path = document[f"{name}_endpoint"].removeprefix(settings.SITE_URL)

        assert Client().get(path).status_code in {302, 401, 405, 403}
