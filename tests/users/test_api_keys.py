"""API keys: what they open, what they never give, and how they end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from apps.core.actor import Actor, ActorKind, system_actor
from apps.core.errors import InvalidInput
from apps.core.redis import get_redis
from apps.events.models import Event, IdempotentRequest
from apps.users.errors import GrantTooWide, KeyRevoked, KeyUnknown, OrganizationUnknown
from apps.users.models import ApiKey, Membership, User
from apps.users.selectors import actor_of_key, actor_of_user, find_key
from apps.users.services.accounts import activate_user, suspend_user
from apps.users.services.api_keys import KeyTerms, issue_api_key, revoke_api_key, rotate_api_key, update_api_key
from apps.users.services.organizations import remove_membership
from tests.factories.users import ApiKeyFactory, MembershipFactory, OrganizationFactory
from tests.support.threads import run_together
from tests.users.client import bearer

pytestmark = pytest.mark.django_db

KEYS = "/api/v3/users/me/api-keys"
ME = "/api/v3/users/me"
# Well formed, with a right checksum, and nobody's.
UNKNOWN = "pk_live_0123456789ABCDEFGHIJKLMNOPQ3E6S2e"
FUTURE = timezone.now() + timedelta(days=365)


@pytest.fixture
def key_api(member: Membership):
    """Return a function that makes a REST client with a key of the given terms."""

    def build(**terms: Any) -> APIClient:
        _, secret = ApiKeyFactory.with_secret(membership=member, **terms)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return build


class TestWhatOpens:
    @pytest.mark.parametrize("header", [bearer, lambda s: {"x-api-key": s}])
    def test_both_headers_open_the_api_as_the_keys_user(self, member: Membership, header) -> None:
        key, secret = ApiKeyFactory.with_secret(membership=member)

        answer = Client().get(ME, headers=header(secret))

        assert answer.json()["id"] == member.user.public_id
        assert answer.json()["organization_id"] == member.organization.public_id
        assert "sessionid" not in answer.cookies
        key.refresh_from_db()
        assert key.last_used_at is not None

    @pytest.mark.parametrize(
        "secret", [UNKNOWN, "pk_live_" + "0" * 33, "x", "", "x" * 40, "' OR 1=1; --" * 4, "ä" * 40, "eyJ.a.b"]
    )
    @pytest.mark.parametrize("header", ["Authorization", "x-api-key"])
    def test_anything_else_is_refused(self, member: Membership, header: str, secret: str) -> None:
        ApiKeyFactory(membership=member)
        value = f"Bearer {secret}" if header == "Authorization" else secret

        refused = Client().get(ME, headers={header: value.encode().decode("latin1")})

        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == 'Bearer realm="portico"'

    @pytest.mark.parametrize(
        "end",
        [
            lambda key: revoke_api_key(key=key, actor=system_actor()),
            lambda key: suspend_user(user=key.user, actor=system_actor()),
            lambda key: ApiKey.objects.update(expires_at=timezone.now()),
            lambda key: type(key.organization).objects.update(is_active=False),
            lambda key: remove_membership(membership=Membership.objects.get(user=key.user), actor=system_actor()),
        ],
    )
    def test_every_way_of_ending_takes_hold_at_the_next_request(self, member: Membership, end) -> None:
        MembershipFactory(organization=member.organization, role="owner")
        key, secret = ApiKeyFactory.with_secret(membership=member)
        assert Client().get(ME, headers=bearer(secret)).status_code == 200

        end(key)

        assert Client().get(ME, headers=bearer(secret)).status_code == 401

    def test_a_key_works_again_after_activation(self, member: Membership) -> None:
        key, secret = ApiKeyFactory.with_secret(membership=member)
        suspend_user(user=member.user, actor=system_actor())
        activate_user(user=member.user, actor=system_actor())

        assert find_key(secret) == key

    def test_a_demotion_counts_at_the_next_request(self, member: Membership) -> None:
        key, _ = ApiKeyFactory.with_secret(membership=member)
        Membership.objects.update(role="viewer")

        assert actor_of_key(key=key).role == "viewer"

    def test_last_use_is_written_once_a_minute(self, member: Membership, django_assert_num_queries) -> None:
        key, secret = ApiKeyFactory.with_secret(membership=member)
        Client().get(ME, headers=bearer(secret))
        key.refresh_from_db()
        first = key.last_used_at
        Client().get(ME, headers=bearer(secret))
        key.refresh_from_db()
        assert key.last_used_at == first

        ApiKey.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
        Client().get(ME, headers=bearer(secret))
        key.refresh_from_db()
        assert key.last_used_at > first

    def test_the_scope_of_the_method_is_asked_for(self, key_api) -> None:
        reader = key_api(scopes=["keys:read"])

        assert reader.get(KEYS).status_code == 200
        refused = reader.post(KEYS, {"name": "x"})
        assert (refused.status_code, refused.json()["code"]) == (403, "users.scope_missing")
        assert reader.get(ME).status_code == 403
        assert key_api(scopes=["keys:write"]).get(KEYS).status_code == 200


class TestCreating:
    def test_the_secret_is_in_the_answer_and_nowhere_else(self, api: APIClient, member: Membership) -> None:
        answer = api.post(
            KEYS,
            {
                "name": "Nightly",
                "scopes": ["gateway:use"],
                "allowed_models": ["gpt-4o-mini"],
                "requests_per_minute": 60,
                "expires_at": FUTURE.isoformat(),
            },
        )

        assert answer.status_code == 201
        made = answer.json()
        key = find_key(made.pop("secret"))
        assert made["id"] == key.public_id
        assert (made["prefix"], made["name"]) == (key.prefix, "Nightly")
        assert (made["user_id"], made["organization_id"]) == (member.user.public_id, member.organization.public_id)
        assert (key.scopes, key.allowed_models, key.requests_per_minute, key.tokens_per_minute) == (
            ["gateway:use"],
            ["gpt-4o-mini"],
            60,
            None,
        )
        [listed] = [item for item in api.get(KEYS).json()["items"] if item["id"] == key.public_id]
        assert listed == made
        event = Event.objects.get(type="api_key.issued")
        assert event.payload == {"user_id": str(member.user_id), "scopes": ["gateway:use"]}

    def test_the_same_idempotency_key_makes_one_key_and_keeps_the_secret_encrypted(self, api: APIClient) -> None:
        answers = [api.post(KEYS, {"name": "once"}, headers={"Idempotency-Key": "abc"}) for _ in range(2)]

        assert answers[0].content == answers[1].content
        assert ApiKey.objects.filter(name="once").count() == 1
        secret = answers[0].json()["secret"]
        raw = IdempotentRequest.objects.extra(select={"raw": "body"}).values_list("raw", flat=True)
        assert secret not in str(list(raw))

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({}, "invalid_input"),
            ({"name": ""}, "invalid_input"),
            ({"name": "x", "scopes": ["everything"]}, "users.scope_unknown"),
            ({"name": "x", "scopes": "gateway:use"}, "invalid_input"),
            ({"name": "x", "requests_per_minute": 0}, "invalid_input"),
            ({"name": "x", "requests_per_minute": 2**31}, "invalid_input"),
            ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "invalid_input"),
            ({"name": "x\0"}, "invalid_input"),
        ],
    )
    def test_bad_input_makes_nothing(self, api: APIClient, body: dict[str, Any], code: str) -> None:
        before = ApiKey.objects.count()

        refused = api.post(KEYS, body)

        assert (refused.status_code, refused.json()["code"]) == (400, code)
        assert ApiKey.objects.count() == before

    def test_a_viewer_cannot(self, api_as) -> None:
        refused = api_as(MembershipFactory(role="viewer")).post(KEYS, {"name": "x"})

        assert (refused.status_code, refused.json()["code"]) == (403, "users.role_too_low")


class TestNeverMoreThanTheCreator:
    @pytest.mark.parametrize(
        ("creator", "asked"),
        [
            ({"scopes": ["keys:write"]}, {"scopes": ["gateway:use"]}),
            ({"scopes": ["keys:write", "models:read"]}, {"scopes": ["keys:write", "gateway:use"]}),
            ({"allowed_models": ["small"]}, {}),
            ({"allowed_models": ["small"]}, {"allowed_models": ["small", "large"]}),
            ({"requests_per_minute": 1}, {"requests_per_minute": 1}),
            ({"tokens_per_minute": 1}, {}),
            ({"expires_at": FUTURE}, {}),
            ({"expires_at": FUTURE}, {"expires_at": (FUTURE + timedelta(seconds=1)).isoformat()}),
        ],
    )
    def test_a_narrower_key_cannot_make_a_wider_one(self, key_api, creator: Any, asked: Any) -> None:
        refused = key_api(**creator).post(KEYS, {"name": "wider"} | asked)

        assert (refused.status_code, refused.json()["code"]) == (403, "users.grant_too_wide")
        assert not ApiKey.objects.filter(name="wider").exists()

    @pytest.mark.parametrize(
        ("creator", "asked", "scopes"),
        [
            ({"scopes": ["keys:write", "gateway:use"]}, {"scopes": ["gateway:use"]}, ["gateway:use"]),
            ({"scopes": ["keys:write"]}, {"scopes": ["keys:read"]}, ["keys:read"]),
            ({"scopes": ["keys:write"]}, {}, ["keys:write"]),
            ({}, {}, []),
            ({"allowed_models": ["small"]}, {"allowed_models": ["small"]}, []),
            ({"expires_at": FUTURE}, {"expires_at": FUTURE.isoformat()}, []),
        ],
    )
    def test_an_equal_or_narrower_one_is_fine(self, key_api, creator: Any, asked: Any, scopes: list[str]) -> None:
        made = key_api(**creator).post(KEYS, {"name": "narrower"} | asked)

        assert made.status_code == 201
        assert made.json()["scopes"] == scopes

    def test_nor_widen_one_that_exists(self, key_api, member: Membership) -> None:
        narrow = ApiKeyFactory(membership=member, scopes=["keys:write"], name="narrow")
        client = key_api(scopes=["keys:write"])

        for change in ({"scopes": []}, {"scopes": ["gateway:use"]}):
            assert client.patch(f"{KEYS}/{narrow.public_id}", change).status_code == 403
        narrow.refresh_from_db()
        assert narrow.scopes == ["keys:write"]

    def test_nor_take_the_secret_of_a_wider_one(self, key_api, member: Membership) -> None:
        wide = ApiKeyFactory(membership=member, scopes=[])

        refused = key_api(scopes=["keys:write"]).post(f"{KEYS}/{wide.public_id}/rotate")

        assert refused.json()["code"] == "users.grant_too_wide"

    def test_an_administrator_cannot_act_as_somebody_else_by_a_key(self, api_as, member: Membership) -> None:
        boss = api_as(MembershipFactory(organization=member.organization, role="owner"))
        key = ApiKeyFactory(membership=member)
        theirs = f"/api/v3/users/{member.user.public_id}/api-keys"

        assert boss.post(theirs, {"name": "x"}).json()["code"] == "users.grant_too_wide"
        assert boss.post(f"{theirs}/{key.public_id}/rotate").json()["code"] == "users.grant_too_wide"
        assert boss.patch(f"{theirs}/{key.public_id}", {"requests_per_minute": 5}).status_code == 200
        assert boss.delete(f"{theirs}/{key.public_id}").status_code == 204

    def test_no_key_for_an_organization_that_one_is_no_member_of(self, actor: Actor, member: Membership) -> None:
        with pytest.raises(GrantTooWide):
            issue_api_key(user=member.user, organization=OrganizationFactory(), name="x", actor=actor)
        with pytest.raises(OrganizationUnknown):
            issue_api_key(user=member.user, organization=OrganizationFactory(), name="x", actor=system_actor())


class TestOtherPeoplesKeys:
    def test_administrators_see_the_keys_of_their_organization(self, api_as, member: Membership) -> None:
        key = ApiKeyFactory(membership=member)
        elsewhere = MembershipFactory(user=member.user)
        ApiKeyFactory(membership=elsewhere)
        boss = api_as(MembershipFactory(organization=member.organization, role="admin"))

        items = boss.get(f"/api/v3/users/{member.user.public_id}/api-keys").json()["items"]

        assert [item["id"] for item in items] == [key.public_id]

    @pytest.mark.parametrize("who", ["colleague", "stranger", "missing", "nonsense"])
    def test_for_members_the_foreign_is_the_missing(self, api: APIClient, member: Membership, who: str) -> None:
        colleague = MembershipFactory(organization=member.organization)
        ids = {
            "colleague": colleague.user.public_id,
            "stranger": MembershipFactory().user.public_id,
            "missing": "user_01h455vb4pex5vsknk084sn02q",
            "nonsense": "nonsense",
        }
        path = f"/api/v3/users/{ids[who]}/api-keys"
        key = ApiKeyFactory(membership=colleague)

        answers = [
            api.get(path),
            api.patch(f"{path}/{key.public_id}", {"name": "mine"}),
            api.delete(f"{path}/{key.public_id}"),
            api.post(f"{path}/{key.public_id}/rotate"),
        ]

        for answer in answers:
            assert answer.status_code == 404
            assert answer.json() | {"request_id": ""} == answers[0].json() | {"request_id": ""}
        key.refresh_from_db()
        assert (key.name, key.revoked_at) == ("test key", None)

    @pytest.mark.parametrize(
        "key_id", ["key_01h455vb4pex5vsknk084sn02q", "nonsense", "user_01h455vb4pex5vsknk084sn02q"]
    )
    def test_a_key_that_is_not_there(self, api: APIClient, key_id: str) -> None:
        assert api.delete(f"{KEYS}/{key_id}").status_code == 404


class TestChangingAndRevoking:
    def test_changes_are_told_by_their_names(self, api: APIClient, member: Membership) -> None:
        key = ApiKeyFactory(membership=member)

        answer = api.patch(f"{KEYS}/{key.public_id}", {"name": "renamed", "tokens_per_minute": 1000})

        assert answer.status_code == 200
        assert (answer.json()["name"], answer.json()["tokens_per_minute"]) == ("renamed", 1000)
        assert Event.objects.get(type="api_key.changed").payload == {"fields": ["name", "tokens_per_minute"]}

    def test_changing_nothing_tells_nothing(self, api: APIClient, member: Membership) -> None:
        key = ApiKeyFactory(membership=member)

        assert api.patch(f"{KEYS}/{key.public_id}", {"name": key.name}).status_code == 200
        assert not Event.objects.filter(type="api_key.changed").exists()

    def test_a_past_expiry_is_refused(self, actor: Actor, member: Membership) -> None:
        with pytest.raises(InvalidInput):
            update_api_key(key=ApiKeyFactory(membership=member), actor=actor, expires_at=timezone.now())

    def test_revoking_twice_tells_once_and_nothing_revives_it(self, actor: Actor, member: Membership) -> None:
        key = ApiKeyFactory(membership=member)
        for _ in range(2):
            revoke_api_key(key=key, actor=actor)

        assert Event.objects.filter(type="api_key.revoked").count() == 1
        with pytest.raises(KeyRevoked):
            update_api_key(key=key, actor=actor, name="again")
        with pytest.raises(KeyRevoked):
            rotate_api_key(key=key, actor=actor)


def test_a_client_gives_keys_of_its_own_scopes_only(member: Membership) -> None:
    who = Actor(
        kind=ActorKind.OAUTH_CLIENT,
        user_id=member.user_id,
        organization_id=member.organization_id,
        oauth_client_id="a-client",
        role=member.role,
        scopes=frozenset({"keys:write", "models:read"}),
    )

    def issue(*scopes: str) -> ApiKey:
        terms = KeyTerms(scopes)
        return issue_api_key(user=member.user, organization=member.organization, name="CI", terms=terms, actor=who)[0]

    assert issue("models:read").scopes == ["models:read"]
    assert issue().scopes == ["keys:write", "models:read"]
    with pytest.raises(GrantTooWide, match="gateway:use"):
        issue("gateway:use")


class TestRotating:
    def test_both_secrets_open_until_the_overlap_ends(self, api: APIClient, member: Membership) -> None:
        key, old = ApiKeyFactory.with_secret(membership=member)

        answer = api.post(f"{KEYS}/{key.public_id}/rotate", {"overlap_seconds": 60})

        assert answer.status_code == 200
        new = answer.json()["secret"]
        assert find_key(old) == find_key(new) == key
        assert answer.json()["prefix"] == new[:14]
        assert Event.objects.get(type="api_key.rotated").payload == {"overlap_seconds": 60}
        ApiKey.objects.filter(id=key.id).update(previous_expires_at=timezone.now())
        assert find_key(new) == key
        with pytest.raises(KeyUnknown):
            find_key(old)

    def test_no_overlap_ends_the_old_secret_at_once(self, actor: Actor, member: Membership) -> None:
        key, old = ApiKeyFactory.with_secret(membership=member)

        _, new = rotate_api_key(key=key, actor=actor, overlap=timedelta(0))

        assert find_key(new) == key
        with pytest.raises(KeyUnknown):
            find_key(old)

    def test_a_second_rotation_ends_the_first_secret(self, actor: Actor, member: Membership) -> None:
        key, first = ApiKeyFactory.with_secret(membership=member)
        _, second = rotate_api_key(key=key, actor=actor)
        _, third = rotate_api_key(key=key, actor=actor)

        assert find_key(second) == find_key(third) == key
        with pytest.raises(KeyUnknown):
            find_key(first)

    def test_revoking_ends_both(self, actor: Actor, member: Membership) -> None:
        key, first = ApiKeyFactory.with_secret(membership=member)
        key, second = rotate_api_key(key=key, actor=actor)
        revoke_api_key(key=key, actor=actor)

        for secret in (first, second):
            with pytest.raises(KeyUnknown):
                find_key(secret)

    @pytest.mark.parametrize("overlap", [-1, 30 * 86400 + 1])
    def test_the_overlap_is_bounded(self, actor: Actor, member: Membership, overlap: int) -> None:
        with pytest.raises(InvalidInput):
            rotate_api_key(key=ApiKeyFactory(membership=member), actor=actor, overlap=timedelta(seconds=overlap))


@pytest.mark.django_db(transaction=True)
def test_of_four_rotations_at_once_the_last_two_secrets_open() -> None:
    key, first = ApiKeyFactory.with_secret()
    who = actor_of_user(user=User.objects.get(), organization_id=key.organization_id)

    secrets = [secret for _, secret in run_together(lambda: rotate_api_key(key=key, actor=who), count=4)]

    opening = [secret for secret in [first, *secrets] if ApiKey.objects.usable().filter(id=key.id) and _opens(secret)]
    assert len(opening) == 2
    assert first not in opening


def _opens(secret: str) -> bool:
    try:
        return bool(find_key(secret))
    except KeyUnknown:
        return False


@pytest.mark.django_db(transaction=True)
class TestAnnouncing:
    @pytest.fixture
    def heard(self):
        subscription = get_redis().pubsub(ignore_subscribe_messages=True)
        subscription.subscribe("portico:identity")
        subscription.get_message(timeout=1)

        def read() -> list[tuple[str, str]]:
            found = []
            while (message := subscription.get_message(timeout=0.2)) is not None:
                content = orjson.loads(message["data"])
                found.append((content["kind"], content["id"]))
            return found

        yield read
        subscription.close()

    def test_what_matters_to_a_cached_key_is_said_after_the_commit(self, heard) -> None:
        MembershipFactory(role="owner")
        key = ApiKeyFactory()
        revoke_api_key(key=key, actor=system_actor())
        suspend_user(user=key.user, actor=system_actor())
        remove_membership(membership=Membership.objects.get(user=key.user), actor=system_actor())

        assert heard() == [("api_key", str(key.id)), ("user", str(key.user_id)), ("user", str(key.user_id))]

    def test_what_was_rolled_back_is_not_said(self, heard, actor: Actor, member: Membership) -> None:
        with pytest.raises(GrantTooWide):
            issue_api_key(user=member.user, organization=OrganizationFactory(), name="x", actor=actor)

        assert heard() == []

    def test_a_redis_that_is_down_stops_no_revocation(self, settings, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.REDIS_URL = "redis://127.0.0.1:1/0"
        key, secret = ApiKeyFactory.with_secret()

        revoke_api_key(key=key, actor=system_actor())

        assert not _opens(secret)


def test_terms_of_a_key() -> None:
    key = ApiKeyFactory.build(scopes=["a"], allowed_models=["b"], requests_per_minute=1)

    assert KeyTerms.of(key) == KeyTerms(["a"], ["b"], 1)
