"""`manage.py bootstrap`: what must exist before anybody can log in."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.users.choices import Role
from apps.users.key_format import new_secret
from apps.users.models import ApiKey, Membership, Organization, User
from apps.users.selectors import find_key
from tests.factories.users import UserFactory
from tests.support.threads import run_together

pytestmark = pytest.mark.django_db


def bootstrap() -> dict[str, str]:
    out = StringIO()
    call_command("bootstrap", json=True, stdout=out)
    return json.loads(out.getvalue())


def test_the_first_run_makes_administrator_organization_and_key() -> None:
    answer = bootstrap()

    administrator = User.objects.get(email="admin@portico.local")
    organization = Organization.objects.get(slug="default")
    assert set(answer) == {"admin_email", "admin_password", "api_key", "api_key_prefix", "organization_id"}
    assert answer["admin_email"] == "admin@portico.local"
    assert administrator.check_password(answer["admin_password"])
    assert administrator.is_superuser
    assert administrator.is_staff
    assert administrator.email_verified_at is not None
    assert administrator.default_organization == organization
    assert answer["organization_id"] == organization.public_id
    assert Membership.objects.get(user=administrator, organization=organization).role == Role.OWNER
    key = find_key(answer["api_key"])
    assert (key.user, key.organization) == (administrator, organization)
    assert (key.scopes, key.allowed_models) == ([], [])
    assert (key.requests_per_minute, key.tokens_per_minute, key.expires_at) == (None, None, None)


def test_a_second_run_changes_nothing_and_shows_no_secret() -> None:
    first = bootstrap()
    before = (User.objects.count(), Organization.objects.count(), ApiKey.objects.count(), Membership.objects.count())

    second = bootstrap()

    assert set(second) == {"admin_email", "api_key_prefix", "organization_id"}
    assert second["api_key_prefix"] == first["api_key_prefix"]
    assert User.objects.get(email="admin@portico.local").check_password(first["admin_password"])
    after = (User.objects.count(), Organization.objects.count(), ApiKey.objects.count(), Membership.objects.count())
    assert after == before


def test_the_environment_names_administrator_and_key(settings) -> None:
    settings.ADMIN_EMAIL = "Head@Example.com"
    settings.ADMIN_PASSWORD = "a password from the environment"
    settings.BOOTSTRAP_API_KEY = "operator-chosen-key-of-thirty-six-ch"

    answers = [bootstrap(), bootstrap()]

    for answer in answers:
        assert answer["admin_email"] == "head@example.com"
        assert "admin_password" not in answer
        assert answer["api_key"] == settings.BOOTSTRAP_API_KEY
    assert User.objects.get(email="head@example.com").check_password(settings.ADMIN_PASSWORD)
    assert find_key(settings.BOOTSTRAP_API_KEY).user.email == "head@example.com"
    assert ApiKey.objects.count() == 1


def test_another_administrator_in_the_environment_joins_the_organization(settings) -> None:
    first = bootstrap()
    settings.ADMIN_EMAIL = "second@example.com"

    answer = bootstrap()

    assert answer["organization_id"] == first["organization_id"]
    memberships = Membership.objects.filter(organization__slug="default").order_by("id")
    assert list(memberships.values_list("user__email", "role")) == [
        ("admin@portico.local", Role.OWNER),
        ("second@example.com", Role.OWNER),
    ]


def test_another_key_in_the_environment_is_added(settings) -> None:
    first = bootstrap()["api_key"]
    settings.BOOTSTRAP_API_KEY = new_secret()

    answer = bootstrap()

    assert answer["api_key"] == settings.BOOTSTRAP_API_KEY
    assert find_key(first).id != find_key(settings.BOOTSTRAP_API_KEY).id


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("too-short", "32 to 256 ASCII characters"),
        ("ä" * 40, "32 to 256 ASCII characters"),
        ("pk_live_" + "A" * 33, "checksum is wrong"),
    ],
)
def test_a_malformed_key_stops_the_start_and_leaves_nothing(settings, key: str, sentence: str) -> None:
    settings.BOOTSTRAP_API_KEY = key

    with pytest.raises(CommandError, match=sentence) as caught:
        bootstrap()

    assert caught.value.returncode == 2
    assert not User.objects.exists()
    assert not Organization.objects.exists()


def test_an_ordinary_account_never_becomes_administrator(settings) -> None:
    ordinary = UserFactory(email="admin@portico.local")

    with pytest.raises(CommandError, match="no active administrator"):
        bootstrap()

    ordinary.refresh_from_db()
    assert not ordinary.is_superuser
    assert not ApiKey.objects.exists()


def test_people_get_text() -> None:
    out = StringIO()

    call_command("bootstrap", stdout=out)

    lines = out.getvalue().splitlines()
    assert lines[0] == "Administrator  admin@portico.local"
    assert lines[1].endswith("(shown this once)")
    assert lines[2].startswith("API key        pk_live_")
    assert lines[3] == f"Organization   {Organization.objects.get(slug='default').public_id}"


@pytest.mark.django_db(transaction=True)
def test_four_machines_at_once_make_one_of_each() -> None:
    answers = run_together(bootstrap, count=4)

    assert sum("admin_password" in answer for answer in answers) == 1
    assert sum("api_key" in answer for answer in answers) == 1
    assert len({answer["organization_id"] for answer in answers}) == 1
    assert (User.objects.count(), ApiKey.objects.count()) == (1, 1)
    assert Organization.objects.filter(slug="default").count() == 1
