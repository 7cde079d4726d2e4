"""How often somebody may try a password: one count for API, pages and admin, with and without Redis."""

from __future__ import annotations

import pytest
from django.test import Client
from redis.exceptions import ConnectionError as RedisDown

from apps.core.redis import get_redis
from apps.users.models import User, UserSession
from apps.users.services import throttling
from apps.users.services.throttling import LOGIN_ACCOUNT, LOGIN_ADDRESS, LOGIN_PAIR, LocalCounts
from tests.factories.users import PASSWORD, UserFactory
from tests.users.client import Browser, log_in

pytestmark = pytest.mark.django_db


def fail(client: Client, email: str, times: int, address: str = "192.0.2.1") -> list[int]:
    return [
        client.post(
            "/api/v3/auth/login",
            {"email": email, "password": "wrong"},
            content_type="application/json",
            REMOTE_ADDR=address,
        ).status_code
        for _ in range(times)
    ]


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Redis be down for the counts, and every test begin with an empty local count."""

    def down() -> None:
        raise RedisDown("no Redis")

    monkeypatch.setattr(throttling, "get_redis", down)
    monkeypatch.setattr(throttling, "_local", LocalCounts())


def test_ten_failures_close_an_account_to_one_address_also_for_the_right_password(client: Client, person: User) -> None:
    assert fail(client, person.email, 11, "127.0.0.1") == [401] * 10 + [429]

    refused = log_in(client, person.email)

    assert refused.status_code == 429
    assert refused.json()["code"] == "users.login_throttled"
    assert 0 < int(refused.headers["Retry-After"]) <= 900
    assert not UserSession.objects.exists()


def test_other_addresses_and_other_accounts_stay_open(client: Client, person: User) -> None:
    other = UserFactory()
    fail(client, person.email, 11)

    assert log_in(client, person.email).status_code == 200
    assert fail(client, other.email, 1) == [401]


def test_an_unknown_account_is_counted_just_the_same(client: Client) -> None:
    assert fail(client, "nobody@example.com", 11) == [401] * 10 + [429]


def test_letters_and_blanks_do_not_make_another_account(client: Client, person: User) -> None:
    assert fail(client, "ADA@example.com", 5) + fail(client, "ada@EXAMPLE.com", 6) == [401] * 10 + [429]


def test_many_addresses_together_close_an_account(client: Client, person: User) -> None:
    get_redis().set(LOGIN_ACCOUNT.key(person.email), LOGIN_ACCOUNT.times - 1, ex=60)

    assert fail(client, person.email, 1, "192.0.2.77") == [401]
    assert fail(client, person.email, 1, "192.0.2.78") == [429]


def test_one_address_cannot_try_many_accounts(client: Client) -> None:
    get_redis().set(LOGIN_ADDRESS.key("192.0.2.1"), LOGIN_ADDRESS.times - 1, ex=60)

    assert fail(client, "a@example.com", 1) + fail(client, "b@example.com", 1) == [401, 429]


def test_success_forgets_the_failures_of_the_account(client: Client, person: User) -> None:
    fail(client, person.email, 9, "127.0.0.1")
    assert log_in(client, person.email).status_code == 200

    assert fail(client, person.email, 10, "127.0.0.1") == [401] * 10


def test_an_own_account_does_not_wash_the_address_clean(client: Client, person: User) -> None:
    get_redis().set(LOGIN_ADDRESS.key("127.0.0.1"), LOGIN_ADDRESS.times - 1, ex=60)
    assert log_in(client, person.email).status_code == 200

    assert fail(client, "b@example.com", 2, "127.0.0.1") == [401, 429]


def test_api_page_and_admin_share_the_count(client: Client) -> None:
    staff = UserFactory(email="root@example.com", is_staff=True, is_superuser=True)
    browser = Browser()
    fail(client, staff.email, 4, "127.0.0.1")
    for _ in range(3):
        assert browser.log_in(staff.email, "wrong").status_code == 200
    for _ in range(3):
        browser.submit("/admin/login/", {"username": staff.email, "password": "wrong"})

    page = browser.log_in(staff.email)
    admin = browser.submit("/admin/login/", {"username": staff.email, "password": PASSWORD})

    assert page.status_code == 429
    assert "Too many attempts" in page.content.decode()
    assert "Too many attempts" in admin.content.decode()
    assert log_in(client, staff.email).status_code == 429
    assert not UserSession.objects.exists()


def test_counts_keep_no_address_in_clear(client: Client, person: User) -> None:
    fail(client, person.email, 1)

    keys = b" ".join(get_redis().keys("portico:attempts:*"))
    assert b"ada" not in keys
    assert b"192.0.2.1" not in keys


class TestWithoutRedis:
    def test_each_process_counts_for_itself(self, no_redis: None, client: Client, person: User) -> None:
        assert fail(client, person.email, 11) == [401] * 10 + [429]

    def test_people_still_log_in(self, no_redis: None, client: Client, person: User) -> None:
        fail(client, person.email, 9, "127.0.0.1")
        assert log_in(client, person.email).status_code == 200
        assert fail(client, person.email, 10, "127.0.0.1") == [401] * 10

    def test_the_local_count_starts_anew_after_its_time(self) -> None:
        counts = LocalCounts()
        assert [counts.count("a", 60)[0] for _ in range(2)] == [1, 2]
        assert [counts.count("b", 0)[0] for _ in range(2)] == [1, 1]

    def test_one_attempt_can_be_given_back(self) -> None:
        counts = LocalCounts()
        for _ in range(3):
            counts.count("a", 60)
        counts.forgive("a", all_of_it=False)
        assert counts.count("a", 60)[0] == 3

    def test_the_number_of_counts_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(throttling, "MAX_LOCAL_COUNTS", 3)
        counts = LocalCounts()
        for number in range(10):
            counts.count(f"expired-{number}", 0)
        assert [counts.count(f"subject-{number}", 60)[0] for number in range(5)] == [1, 1, 1, 1, 2]
        assert counts.count("subject-0", 60)[0] == 2


def test_limits_are_what_the_guide_says() -> None:
    assert [(limit.times, limit.seconds) for limit in (LOGIN_PAIR, LOGIN_ACCOUNT, LOGIN_ADDRESS)] == [
        (10, 900),
        (50, 3600),
        (100, 900),
    ]
