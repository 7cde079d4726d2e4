"""What every test may use."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import TransactionTestCase
from rest_framework.test import APIClient

from apps.core.actor import Actor
from apps.core.redis import get_redis
from apps.users.models import Membership
from apps.users.selectors import actor_of_user
from tests.factories.users import ApiKeyFactory, MembershipFactory
from tests.support.services import wait_for_template

# Written by migrations, from the code: the same for every test.
KEPT = ("django_migrations", "django_content_type", "auth_permission")
# Only what a test has filled is emptied, and no table is locked or made anew: a fiftieth of what Django's flush takes.
# No trigger fires meanwhile, so that append-only tables let go too.
EMPTY_TABLES = f"""
    DO $$
    DECLARE
        name text;
        is_filled boolean;
    BEGIN
        SET LOCAL session_replication_role = replica;
        FOR name IN
            SELECT oid::regclass::text FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
                AND relname <> ALL (ARRAY{list(KEPT)})
        LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', name) INTO is_filled;
            IF is_filled THEN
                EXECUTE format('DELETE FROM %s', name);
            END IF;
        END LOOP;
    END $$
"""


def pytest_collection_finish() -> None:
    """Let the collector pass over what stays to the end: half a million objects, looked at again and again otherwise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)


def _empty_tables(case: TransactionTestCase) -> None:
    """Leave an empty database behind a transactional test."""
    with connection.cursor() as cursor:
        cursor.execute(EMPTY_TABLES)


TransactionTestCase._fixture_teardown = _empty_tables


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Make the test database a copy of the one that was migrated."""
    connection.settings_dict["TEST"]["TEMPLATE"] = wait_for_template()


@pytest.fixture(autouse=True)
def _empty_redis() -> None:
    """Give every test an empty Redis: counters and caches of one test are not another's."""
    get_redis().flushdb()
    cache.clear()


@pytest.fixture
def member(db: None) -> Membership:
    """Return the membership of an ordinary person in an ordinary organization."""
    return MembershipFactory()


@pytest.fixture
def actor(member: Membership) -> Actor:
    """Return that person as the caller."""
    return actor_of_user(user=member.user, organization_id=member.organization_id, request_id="req_test")


@pytest.fixture
def api_as(db: None) -> Callable[[Membership], APIClient]:
    """Return a function that makes a REST client with a fresh API key of a member."""

    def build(membership: Membership) -> APIClient:
        _, secret = ApiKeyFactory.with_secret(membership=membership)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return build


@pytest.fixture
def api(member: Membership, api_as: Callable[[Membership], APIClient]) -> APIClient:
    """Return a REST client of `member`."""
    return api_as(member)
