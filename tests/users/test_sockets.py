"""Who opens a WebSocket."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client

from apps.core.actor import system_actor
from apps.users.models import Membership, User, UserSession
from apps.users.selectors import is_credential_live
from apps.users.services.accounts import suspend_user
from apps.users.services.api_keys import revoke_api_key
from apps.users.services.organizations import remove_membership
from apps.users.sockets import SocketActorMiddleware
from tests.factories.users import ApiKeyFactory, MembershipFactory, OAuthClientFactory
from tests.users.client import log_in
from tests.users.oauth_flow import basic

pytestmark = pytest.mark.django_db(transaction=True)


class Socket:
    """Opens one socket and keeps what the application got, or what the client was told."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] | None = None
        self.sent: list[dict[str, Any]] = []

    def open(self, *, query: str = "", headers: dict[str, str] | None = None, subprotocols: Any = ()) -> Socket:
        scope = {
            "type": "websocket",
            "path": "/api/v3/chat/ws",
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "subprotocols": list(subprotocols),
        }

        async def inner(scope: dict[str, Any], receive: Any, send: Any) -> None:
            self.scope = scope

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        async_to_sync(SocketActorMiddleware(inner))(scope, receive, send)
        return self


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
def cookie(logged_in: Client) -> str:
    logged_in.get("/account")
    return f"sessionid={logged_in.cookies['sessionid'].value}"


class TestBearers:
    @pytest.mark.parametrize(
        "show",
        [
            lambda s: {"headers": {"Authorization": f"Bearer {s}"}},
            lambda s: {"query": f"access_token={s}&x=1"},
            lambda s: {"subprotocols": ["portico", f"bearer.{s}"]},
        ],
    )
    def test_three_ways_to_show_a_key(self, socket: Socket, member: Membership, show) -> None:
        key, secret = ApiKeyFactory.with_secret(membership=member)

        scope = socket.open(**show(secret)).scope

        assert scope
        assert (scope["actor"].api_key_id, scope["user"]) == (key.id, member.user)
        assert scope["actor"].request_id.startswith("req_")
        assert secret not in str(scope["query_string"]) + str(scope["subprotocols"])

    def test_what_else_the_client_offered_stays(self, socket: Socket, member: Membership) -> None:
        _, secret = ApiKeyFactory.with_secret(membership=member)

        scope = socket.open(query=f"a=1&access_token={secret}&b=", subprotocols=["portico"]).scope

        assert scope
        assert (scope["query_string"], scope["subprotocols"]) == (b"a=1&b=", ["portico"])

    def test_access_tokens_of_sessions_and_of_oauth_open_too(self, socket: Socket, person: User) -> None:
        token = log_in(Client(), person.email).json()["access_token"]
        assert socket.open(query=f"access_token={token}").scope["actor"].user_id == person.id

        client, secret = OAuthClientFactory.with_secret(machine=True)
        answer = Client().post(
            "/oauth/token", {"grant_type": "client_credentials"}, headers=basic(client.client_id, secret)
        )
        scope = socket.open(query=f"access_token={answer.json()['access_token']}").scope
        assert scope["actor"].oauth_client_id == client.client_id
        assert is_credential_live(scope["credential"])
        client.is_active = False
        client.save()
        assert not is_credential_live(scope["credential"])

    @pytest.mark.parametrize("secret", ["unknown", "pk_live_" + "0" * 33, "eyJ.a.b"])
    def test_a_wrong_one_is_refused_before_the_application_sees_it(self, socket: Socket, secret: str) -> None:
        socket.open(query=f"access_token={secret}")

        assert socket.scope is None
        assert [(message["type"], message["code"]) for message in socket.sent] == [("websocket.close", 4401)]

    def test_so_is_nothing(self, socket: Socket) -> None:
        assert socket.open().sent[0]["reason"] == "not_authenticated"


class TestCookies:
    @pytest.mark.parametrize("origin", ["http://testserver", "http://portico.example"])
    def test_our_own_pages_open_as_their_person(self, socket: Socket, cookie: str, person: User, origin: str) -> None:
        scope = socket.open(headers={"Cookie": cookie, "Origin": origin, "Host": "portico.example"}).scope

        assert scope
        assert scope["actor"].user_id == person.id

    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "http://portico.example.evil.example", "null", "", "http://"]
    )
    def test_pages_of_others_do_not(self, socket: Socket, cookie: str, origin: str) -> None:
        socket.open(headers={"Cookie": cookie, "Origin": origin, "Host": "portico.example"})

        assert socket.scope is None
        assert socket.sent[0]["reason"] == "permission_refused"

    @pytest.mark.parametrize("end", ["revoked", "suspended", "unknown"])
    def test_a_session_that_ended_does_not(self, socket: Socket, cookie: str, person: User, end: str) -> None:
        ends = {
            "revoked": lambda: UserSession.objects.all().delete(),
            "suspended": lambda: suspend_user(user=person, actor=system_actor()),
            "unknown": lambda: None,
        }
        ends[end]()
        shown = {"unknown": "sessionid=nonsense"}.get(end, cookie)

        socket.open(headers={"Cookie": shown, "Origin": "http://testserver"})

        assert socket.scope is None


class TestLiveness:
    """What outlives its request asks again (at most two seconds apart) whether it may go on."""

    @pytest.mark.parametrize(
        "end",
        [
            lambda key: revoke_api_key(key=key, actor=system_actor()),
            lambda key: suspend_user(user=key.user, actor=system_actor()),
            lambda key: remove_membership(membership=Membership.objects.get(user=key.user), actor=system_actor()),
        ],
    )
    def test_of_a_key(self, socket: Socket, member: Membership, end) -> None:
        MembershipFactory(organization=member.organization, role="owner")
        key, secret = ApiKeyFactory.with_secret(membership=member)
        credential = socket.open(query=f"access_token={secret}").scope["credential"]
        assert is_credential_live(credential)

        end(key)

        assert not is_credential_live(credential)

    def test_of_a_session(self, socket: Socket, cookie: str, logged_in: Client) -> None:
        credential = socket.open(headers={"Cookie": cookie, "Origin": "http://testserver"}).scope["credential"]
        assert is_credential_live(credential)

        logged_in.post("/logout")

        assert not is_credential_live(credential)
