"""/api/v3/auth: logging in, refreshing, logging out."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import jwt
import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from apps.core.actor import system_actor
from apps.events.models import Event
from apps.users.models import RefreshToken, User, UserSession
from apps.users.services.accounts import activate_user, suspend_user
from apps.users.signing import signing_key
from tests.factories.users import PASSWORD, UserFactory
from tests.support.threads import run_together
from tests.users.client import bearer, log_in, post

pytestmark = pytest.mark.django_db

ME = "/api/v3/users/me"
REFRESH = "/api/v3/auth/refresh"


@pytest.fixture
def tokens(client: Client, person: User) -> dict[str, str]:
    return log_in(client, person.email).json()


def test_logging_in_gives_tokens_that_open_the_api(client: Client, person: User) -> None:
    response = log_in(client, "  ADA@example.com ".strip(), **{"User-Agent": "a program"})

    assert response.status_code == 200
    answer = response.json()
    session = UserSession.objects.get()
    assert set(answer) == {"access_token", "token_type", "expires_in", "refresh_token", "session_id", "user_id"}
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 900)
    assert (answer["session_id"], answer["user_id"]) == (session.public_id, person.public_id)
    assert (session.kind, session.device, session.ip_address) == ("token", "a program", "127.0.0.1")
    me = client.get(ME, headers=bearer(answer["access_token"])).json()
    assert (me["id"], me["email"], me["role"]) == (person.public_id, "ada@example.com", "owner")


def test_the_access_token_is_a_signed_jwt_that_carries_only_ids(tokens: dict[str, str], person: User, settings) -> None:
    claims = jwt.decode(
        tokens["access_token"],
        signing_key().public_key,
        algorithms=["RS256"],
        audience="portico",
        issuer=settings.SITE_URL,
    )

    assert set(claims) == {"iss", "aud", "sub", "sid", "jti", "iat", "exp"}
    assert (claims["sub"], claims["sid"]) == (person.public_id, tokens["session_id"])
    assert claims["exp"] - claims["iat"] == 900
    header = jwt.get_unverified_header(tokens["access_token"])
    assert header == {"alg": "RS256", "kid": signing_key().key_id, "typ": "at+jwt"}


def test_the_published_key_verifies_the_token(client: Client, tokens: dict[str, str]) -> None:
    document = client.get("/.well-known/jwks.json").json()

    key = next(key for key in jwt.PyJWKSet.from_dict(document).keys)
    assert key.key_id == jwt.get_unverified_header(tokens["access_token"])["kid"]
    assert jwt.decode(tokens["access_token"], key, algorithms=["RS256"], audience="portico")["sid"]
    assert set(document["keys"][0]) == {"kty", "n", "e", "kid", "use", "alg"}


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ada@example.com", "not the password"),
        ("nobody@example.com", PASSWORD),
        ("suspended@example.com", PASSWORD),
        ("unconfirmed@example.com", PASSWORD),
        ("no-password@example.com", PASSWORD),
    ],
)
def test_every_reason_to_refuse_gets_the_same_answer(
    client: Client, person: User, settings, email: str, password: str
) -> None:
    settings.EMAIL_VERIFICATION_REQUIRED = True
    User.objects.filter(id=person.id).update(email_verified_at=timezone.now())
    UserFactory(email="suspended@example.com", is_active=False, email_verified_at=timezone.now())
    UserFactory(email="unconfirmed@example.com")
    User.objects.create_user("no-password@example.com", None, email_verified_at=timezone.now())

    refused = log_in(client, email, password)

    assert refused.status_code == 401
    problem = refused.json()
    assert problem["code"] == "users.credentials_wrong"
    assert problem["detail"] == "E-mail or password is wrong, or the address is not confirmed yet."
    assert not UserSession.objects.exists()
    assert log_in(client, person.email).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"email": "ada@example.com"}, {"email": "ada", "password": "x"}, {"email": "a@b.c", "password": "x\0y"}, []],
)
def test_a_malformed_login_is_bad_input(client: Client, body: object) -> None:
    response = client.post("/api/v3/auth/login", body, content_type="application/json")

    assert response.status_code == 400
    assert response.json()["code"] == "invalid_input"


def test_a_stale_credential_does_not_stand_in_the_way_of_logging_in(client: Client, person: User) -> None:
    assert log_in(client, person.email, **bearer("pk_live_stale")).status_code == 200


class TestAccessTokens:
    def test_it_dies_after_fifteen_minutes(self, client: Client, tokens: dict[str, str]) -> None:
        now = timezone.now()
        with time_machine.travel(now + timedelta(seconds=890), tick=False):
            assert client.get(ME, headers=bearer(tokens["access_token"])).status_code == 200
        with time_machine.travel(now + timedelta(seconds=902), tick=False):
            refused = client.get(ME, headers=bearer(tokens["access_token"]))
        assert refused.status_code == 401
        assert refused.json()["code"] == "users.token_invalid"

    @pytest.mark.parametrize(
        "change",
        [
            {"aud": "another"},
            {"iss": "https://elsewhere.example"},
            {"sid": "sess_01h455vb4pex5vsknk084sn02q"},
            {"sid": "nonsense"},
            {"sub": "user_01h455vb4pex5vsknk084sn02q"},
            {"exp": 1},
            {"sid": None},
            {"note": "longer than any token of ours " * 200},
        ],
    )
    def test_changed_claims_refuse_even_with_a_right_signature(
        self, client: Client, tokens: dict[str, str], change: dict[str, object]
    ) -> None:
        key = signing_key()
        claims = jwt.decode(tokens["access_token"], options={"verify_signature": False}) | change
        forged = jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            key.private_key,
            algorithm="RS256",
            headers={"kid": key.key_id, "typ": "at+jwt"},
        )

        assert client.get(ME, headers=bearer(forged)).json()["code"] == "users.token_invalid"

    @pytest.mark.parametrize("headers", [{"typ": "JWT"}, {"kid": "another"}])
    def test_other_tokens_of_ours_are_no_access_tokens(
        self, client: Client, tokens: dict[str, str], headers: dict[str, str]
    ) -> None:
        key = signing_key()
        claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
        other = jwt.encode(
            claims, key.private_key, algorithm="RS256", headers={"kid": key.key_id, "typ": "at+jwt"} | headers
        )

        assert client.get(ME, headers=bearer(other)).status_code == 401

    @pytest.mark.parametrize("algorithm", ["none", "HS256"])
    def test_other_algorithms_refuse(self, client: Client, tokens: dict[str, str], algorithm: str) -> None:
        key = signing_key()
        claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
        secret = {"none": None, "HS256": "x" * 64}[algorithm]
        forged = jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": key.key_id, "typ": "at+jwt"})

        assert client.get(ME, headers=bearer(forged)).status_code == 401

    def test_suspension_takes_hold_at_the_next_request(
        self, client: Client, tokens: dict[str, str], person: User
    ) -> None:
        suspend_user(user=person, actor=system_actor())

        assert client.get(ME, headers=bearer(tokens["access_token"])).status_code == 401
        assert post(client, REFRESH, {"refresh_token": tokens["refresh_token"]}).status_code == 401
        activate_user(user=person, actor=system_actor())
        assert client.get(ME, headers=bearer(tokens["access_token"])).status_code == 401


class TestRefresh:
    def test_a_refresh_token_gives_a_new_pair_in_the_same_session(self, client: Client, tokens: dict[str, str]) -> None:
        answer = post(client, REFRESH, {"refresh_token": tokens["refresh_token"]})

        assert answer.status_code == 200
        fresh = answer.json()
        assert fresh["session_id"] == tokens["session_id"]
        assert fresh["refresh_token"] != tokens["refresh_token"]
        assert client.get(ME, headers=bearer(fresh["access_token"])).status_code == 200

    def test_only_hashes_are_kept(self, tokens: dict[str, str]) -> None:
        assert RefreshToken.objects.get().token_hash == hashlib.sha256(tokens["refresh_token"].encode()).hexdigest()

    def test_a_second_use_ends_the_session_for_both_holders(self, client: Client, tokens: dict[str, str]) -> None:
        fresh = post(client, REFRESH, {"refresh_token": tokens["refresh_token"]}).json()

        reused = post(client, REFRESH, {"refresh_token": tokens["refresh_token"]})

        assert reused.status_code == 401
        assert reused.json()["code"] == "users.refresh_token_invalid"
        session = UserSession.objects.get()
        assert (session.revoked_at is not None, session.revoked_because) == (True, "token_reused")
        assert client.get(ME, headers=bearer(fresh["access_token"])).status_code == 401
        assert post(client, REFRESH, {"refresh_token": fresh["refresh_token"]}).status_code == 401
        event = Event.objects.get(type="session.revoked")
        assert event.payload == {"user_id": str(session.user_id), "reason": "token_reused"}

    def test_other_sessions_of_the_person_live_on(self, client: Client, tokens: dict[str, str], person: User) -> None:
        other = log_in(client, person.email).json()
        for _ in range(2):
            post(client, REFRESH, {"refresh_token": tokens["refresh_token"]})

        assert client.get(ME, headers=bearer(other["access_token"])).status_code == 200

    def test_it_ends_thirty_days_after_login_however_often_it_was_used(
        self, client: Client, tokens: dict[str, str]
    ) -> None:
        now = timezone.now()
        UserSession.objects.update(expires_at=now - timedelta(seconds=1))

        assert post(client, REFRESH, {"refresh_token": tokens["refresh_token"]}).status_code == 401
        assert UserSession.objects.get().revoked_at is None

    @pytest.mark.parametrize("token", ["prt_unknown", "x"])
    def test_an_unknown_token_refuses(self, client: Client, tokens: dict[str, str], token: str) -> None:
        assert post(client, REFRESH, {"refresh_token": token}).json()["code"] == "users.refresh_token_invalid"
        assert UserSession.objects.live().count() == 1

    def test_an_access_token_is_no_refresh_token(self, client: Client, tokens: dict[str, str]) -> None:
        assert post(client, REFRESH, {"refresh_token": tokens["access_token"][:250]}).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_of_two_refreshes_at_once_one_wins_and_the_session_ends(person: User) -> None:
    tokens = log_in(Client(), person.email).json()

    answers = run_together(lambda: post(Client(), REFRESH, {"refresh_token": tokens["refresh_token"]}), count=2)

    assert sorted(answer.status_code for answer in answers) == [200, 401]
    assert UserSession.objects.get().revoked_because == "token_reused"
    won = next(answer.json() for answer in answers if answer.status_code == 200)
    assert Client().get(ME, headers=bearer(won["access_token"])).status_code == 401


class TestLogout:
    def test_both_tokens_refuse_at_once(self, client: Client, tokens: dict[str, str]) -> None:
        answer = client.post("/api/v3/auth/logout", headers=bearer(tokens["access_token"]))

        assert answer.status_code == 204
        assert client.get(ME, headers=bearer(tokens["access_token"])).status_code == 401
        assert post(client, REFRESH, {"refresh_token": tokens["refresh_token"]}).status_code == 401
        assert UserSession.objects.get().revoked_because == "logout"

    def test_the_web_session_ends_too(self, logged_in: Client) -> None:
        assert logged_in.get(ME).status_code == 200

        assert logged_in.post("/api/v3/auth/logout").status_code == 204

        assert logged_in.get(ME).status_code == 401
        assert UserSession.objects.get().revoked_because == "logout"

    def test_an_api_key_has_no_session(self, api) -> None:
        refused = api.post("/api/v3/auth/logout")

        assert refused.status_code == 400
        assert refused.json()["detail"] == "An API key or OAuth token has no session; revoke it instead."

    def test_nobody_cannot_log_out(self, client: Client) -> None:
        assert client.post("/api/v3/auth/logout").status_code == 401
