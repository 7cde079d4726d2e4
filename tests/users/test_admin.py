"""Staff pages: every list and row opens, writes go through services, powers stay with superusers."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from oauth2_provider.models import get_access_token_model

from apps.core.ids import uuid7
from apps.events.models import Event
from apps.users.models import ApiKey, Membership, OAuthClient, User, UserSession
from apps.users.selectors import find_key
from tests.factories.users import ApiKeyFactory, MembershipFactory, OAuthClientFactory, OrganizationFactory, UserFactory
from tests.users.client import log_in

pytestmark = pytest.mark.django_db

OURS = [model for model in admin.site._registry if model._meta.app_label in {"users", "oauth2_provider", "auth"}]


@pytest.fixture
def root() -> User:
    return UserFactory(email="root@example.com", is_staff=True, is_superuser=True, email_verified_at=timezone.now())


@pytest.fixture
def staff(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


@pytest.fixture
def clerk() -> Client:
    """Return a member of staff who may do everything with people and keys but is no superuser."""
    person = UserFactory(is_staff=True)
    for codename in ("view_user", "change_user", "add_user", "add_apikey", "view_apikey"):
        person.user_permissions.add(_permission(codename))
    client = Client()
    client.force_login(person)
    return client


def _permission(codename: str) -> Permission:
    return Permission.objects.get(content_type__app_label="users", codename=codename)


def page(name: str, *args: object) -> str:
    return reverse(f"admin:users_{name}", args=args)


def run(client: Client, model: str, action: str, *rows: object, **fields: str):
    chosen = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(page(f"{model}_changelist"), chosen | fields, follow=True)


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_every_list_opens_filters_and_searches(staff: Client, model) -> None:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")

    assert staff.get(url).status_code == 200
    assert staff.get(url, {"q": "nothing"}).status_code == 200


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("user", UserFactory),
        ("organization", OrganizationFactory),
        ("membership", MembershipFactory),
        ("apikey", ApiKeyFactory),
        ("oauthclient", OAuthClientFactory),
    ],
)
def test_every_row_opens_and_is_found_by_its_public_id(staff: Client, name: str, make) -> None:
    row = make()

    assert staff.get(page(f"{name}_change", row.pk)).status_code == 200
    found = staff.get(page(f"{name}_changelist"), {"q": row.public_id})
    assert found.context["cl"].result_count == 1
    assert staff.get(page(f"{name}_history", row.pk)).status_code == 200


@pytest.mark.parametrize("name", ["user", "apikey", "organization", "oauthclient"])
def test_an_ordinary_person_sees_nothing(logged_in: Client, name: str) -> None:
    assert logged_in.get(page(f"{name}_changelist")).status_code == 302


class TestPeople:
    def test_creating_makes_a_personal_organization_and_an_event(self, staff: Client) -> None:
        answer = staff.post(
            page("user_add"),
            {
                "email": "New@Example.com",
                "name": "New",
                "usable_password": "true",
                "password1": "long enough and new",
                "password2": "long enough and new",
            },
        )

        assert answer.status_code == 302, answer.context["errors"]
        person = User.objects.get(email="new@example.com")
        assert person.check_password("long enough and new")
        assert Membership.objects.get(user=person).organization.is_personal
        assert Event.objects.get(type="user.registered").payload == {"is_self_service": False}

    def test_a_taken_address_is_said_on_the_page(self, staff: Client, root: User) -> None:
        answer = staff.post(
            page("user_add"),
            {
                "email": "ROOT@example.com",
                "name": "",
                "usable_password": "true",
                "password1": "long enough and new",
                "password2": "long enough and new",
            },
            follow=True,
        )

        assert "has an account" in answer.content.decode()
        assert User.objects.count() == 1

    def test_changing_tells_which_fields(self, staff: Client, person: User) -> None:
        answer = staff.post(page("user_change", person.pk), {"email": person.email, "name": "Countess"} | EMPTY)

        assert answer.status_code == 302, answer.context["errors"]
        person.refresh_from_db()
        assert person.name == "Countess"
        assert set(Event.objects.get(type="user.changed").payload["fields"]) == {"default_organization", "name"}

    def test_suspending_ends_sessions_and_spares_oneself(self, staff: Client, root: User, person: User) -> None:
        log_in(Client(), person.email)

        run(staff, "user", "suspend", person, root)

        person.refresh_from_db()
        root.refresh_from_db()
        assert (person.is_active, root.is_active) == (False, True)
        assert UserSession.objects.get(user=person).revoked_because == "suspended"
        run(staff, "user", "activate", person)
        person.refresh_from_db()
        assert person.is_active

    def test_a_new_password_ends_sessions(self, staff: Client, person: User) -> None:
        log_in(Client(), person.email)
        url = reverse("admin:auth_user_password_change", args=[person.pk])

        staff.post(
            url,
            {
                "usable_password": "true",
                "password1": "long enough and new",
                "password2": "long enough and new",
                "set-password": "1",
            },
        )

        person.refresh_from_db()
        assert person.check_password("long enough and new")
        assert UserSession.objects.get(user=person).revoked_because == "password_changed"

    def test_a_clerk_gives_no_powers_and_touches_no_superuser(self, clerk: Client, root: User, person: User) -> None:
        clerk.post(
            page("user_change", person.pk),
            {"email": person.email, "name": "x", "is_staff": "on", "is_superuser": "on"} | EMPTY,
        )
        clerk.post(page("user_change", root.pk), {"email": "taken@example.com", "name": "x"} | EMPTY)
        clerk.post(
            reverse("admin:auth_user_password_change", args=[root.pk]),
            {"password1": "long enough and new", "password2": "long enough and new", "set-password": "1"},
        )
        run(clerk, "user", "suspend", root)

        person.refresh_from_db()
        assert (person.name, person.is_staff, person.is_superuser) == ("x", False, False)
        before = root.password
        root.refresh_from_db()
        assert (root.email, root.is_active, root.password) == ("root@example.com", True, before)
        assert clerk.get(f"/admin/users/user/{root.pk}/issue-key/").status_code in {302, 403}

    def test_a_key_is_issued_and_shown_once(self, staff: Client, person: User, root: User) -> None:
        url = f"/admin/users/user/{person.pk}/issue-key/"
        assert staff.get(url).status_code == 200

        answer = staff.post(url, {"organization": person.default_organization_id, "name": "For the nightly job"})

        found = re.search(r"pk_live_\w{33}", answer.content.decode())
        assert found
        assert find_key(found[0]).user == person
        assert "no-store" in answer.headers["Cache-Control"]
        event = Event.objects.get(type="api_key.issued")
        assert (event.actor["kind"], event.actor["user_id"]) == ("system", str(root.id))
        assert found[0] not in staff.get(page("user_change", person.pk)).content.decode()

    def test_nobody_can_be_given_a_key_who_is_not_there(self, staff: Client) -> None:
        assert staff.post(f"/admin/users/user/{uuid7()}/issue-key/", {"name": "x"}).status_code == 404
        assert not ApiKey.objects.exists()


EMPTY = {
    f"{prefix}-{name}": "0"
    for prefix in ("memberships", "api_keys", "sessions")
    for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")
}


class TestOrganizations:
    def test_founding_makes_staff_its_owner(self, staff: Client, root: User) -> None:
        answer = staff.post(page("organization_add"), {"name": "Acme", "slug": "acme"})

        assert answer.status_code == 302, answer.context["errors"]
        assert Membership.objects.get(user=root).organization.slug == "acme"

    def test_renaming_keeps_everything_else(self, staff: Client) -> None:
        organization = MembershipFactory(role="owner").organization

        answer = staff.post(
            page("organization_change", organization.pk), {"name": "Renamed", "slug": organization.slug} | EMPTY
        )

        assert answer.status_code == 302, answer.context["errors"]
        before = organization.slug
        organization.refresh_from_db()
        assert (organization.name, organization.slug, organization.is_active) == ("Renamed", before, True)
        assert Membership.objects.filter(organization=organization).count() == 1

    def test_suspending_stops_its_keys(self, staff: Client) -> None:
        key, secret = ApiKeyFactory.with_secret()

        run(staff, "organization", "suspend", key.organization)
        assert not ApiKey.objects.usable().exists()

        run(staff, "organization", "activate", key.organization)
        assert find_key(secret) == key
        types = Event.objects.order_by("position").values_list("type", flat=True)
        assert list(types)[-2:] == ["organization.suspended", "organization.activated"]

    def test_a_membership_is_added_changed_and_removed(self, staff: Client) -> None:
        owner = MembershipFactory(role="owner")
        newcomer = UserFactory()
        staff.post(
            page("membership_add"),
            {"user": newcomer.pk, "organization": owner.organization.pk, "role": "member"},
        )
        membership = Membership.objects.get(user=newcomer)

        staff.post(page("membership_change", membership.pk), {"role": "admin"})
        membership.refresh_from_db()
        assert membership.role == "admin"

        run(staff, "membership", "delete_selected", membership)
        staff.post(page("membership_delete", membership.pk), {"post": "yes"})
        assert not Membership.objects.filter(user=newcomer).exists()

    def test_several_memberships_are_removed_together(self, staff: Client) -> None:
        owner = MembershipFactory(role="owner")
        members = [MembershipFactory(organization=owner.organization) for _ in range(2)]

        run(staff, "membership", "delete_selected", *members, post="yes")

        assert Membership.objects.filter(organization=owner.organization).get() == owner
        assert Event.objects.filter(type="membership.removed").count() == 2

    def test_the_last_owner_stays_and_the_page_says_why(self, staff: Client) -> None:
        owner = MembershipFactory(role="owner")

        answer = staff.post(page("membership_change", owner.pk), {"role": "viewer"}, follow=True)

        assert "Make somebody else an owner first" in answer.content.decode()
        owner.refresh_from_db()
        assert owner.role == "owner"


class TestKeysAndSessions:
    def test_a_key_is_narrowed_and_revoked(self, staff: Client) -> None:
        key = ApiKeyFactory()
        answer = staff.post(
            page("apikey_change", key.pk),
            {"name": "narrow", "scopes": ["gateway:use"], "allowed_models": "gpt-4o", "requests_per_minute": "5"},
        )
        assert answer.status_code == 302, answer.context["errors"]
        key.refresh_from_db()
        assert (key.name, key.scopes, key.allowed_models, key.requests_per_minute) == (
            "narrow",
            ["gateway:use"],
            ["gpt-4o"],
            5,
        )

        run(staff, "apikey", "revoke", key)
        key.refresh_from_db()
        assert key.revoked_at is not None
        page_after = staff.post(page("apikey_change", key.pk), {"name": "again"}, follow=True).content.decode()
        assert "is revoked; make a new key" in page_after

    def test_a_session_is_ended(self, staff: Client, person: User) -> None:
        log_in(Client(), person.email)
        session = UserSession.objects.get(user=person)

        run(staff, "usersession", "revoke", session)

        session.refresh_from_db()
        assert session.revoked_because == "revoked"


class TestOAuthClients:
    FIELDS = {
        "name": "Reports",
        "authorization_grant_type": "authorization-code",
        "client_type": "confidential",
        "redirect_uris": "https://reports.example/cb",
        "allowed_scopes": ["users:read"],
        "is_active": "on",
    }

    def test_registering_shows_the_secret_once_and_keeps_a_hash(self, staff: Client) -> None:
        organization = OrganizationFactory()

        answer = staff.post(page("oauthclient_add"), self.FIELDS | {"organization": organization.pk})

        client = OAuthClient.objects.get()
        secret = re.search(r"<code[^>]*>(\w{128})</code>", answer.content.decode())
        assert secret
        assert f">{client.client_id}</code>" in answer.content.decode()
        assert client.client_secret.startswith("client_sha256$")
        assert secret[1] not in client.client_secret
        assert secret[1] not in staff.get(page("oauthclient_change", client.pk)).content.decode()
        assert Event.objects.get(type="oauth_client.created").payload == {"grant_type": "authorization-code"}

    def test_a_public_client_has_no_secret_to_show_or_to_renew(self, staff: Client) -> None:
        given = self.FIELDS | {"organization": OrganizationFactory().pk, "client_type": "public"}

        answer = staff.post(page("oauthclient_add"), given)

        client = OAuthClient.objects.get()
        assert (answer.status_code, answer.headers["Location"]) == (302, page("oauthclient_changelist"))
        before = client.client_secret
        assert staff.post(f"/admin/users/oauthclient/{client.pk}/new-secret/").status_code == 404
        client.refresh_from_db()
        assert client.client_secret == before

    def test_what_does_not_fit_is_said_by_field(self, staff: Client) -> None:
        organization = OrganizationFactory()

        answer = staff.post(
            page("oauthclient_add"),
            self.FIELDS | {"organization": organization.pk, "redirect_uris": "http://reports.example/cb"},
        )

        assert "Neither https nor http on a loopback address" in answer.content.decode()
        assert not OAuthClient.objects.exists()

    def test_changing_and_a_new_secret(self, staff: Client) -> None:
        client = OAuthClientFactory()
        staff.post(
            page("oauthclient_change", client.pk),
            {"name": "Renamed", "redirect_uris": client.redirect_uris, "allowed_scopes": ["users:read"]},
        )
        before = client.client_secret
        client.refresh_from_db()
        assert (client.name, client.is_active, client.allowed_scopes) == ("Renamed", False, ["users:read"])

        url = f"/admin/users/oauthclient/{client.pk}/new-secret/"
        assert staff.get(url).status_code == 200
        assert OAuthClient.objects.get().client_secret == client.client_secret
        answer = staff.post(url)
        assert re.search(r"<code[^>]*>\w{128}</code>", answer.content.decode())
        client.refresh_from_db()
        assert client.client_secret != before

    def test_token_pages_show_no_token(self, staff: Client) -> None:
        client = OAuthClientFactory(machine=True)
        token = get_access_token_model().objects.create(
            application=client, token="", token_checksum="ab" * 32, expires=timezone.now(), scope="users:read"
        )
        html = staff.get(reverse("admin:oauth2_provider_accesstoken_change", args=[token.pk])).content.decode()

        assert "ab" * 32 not in html
        assert "users:read" in html


class TestWayIn:
    def test_who_is_logged_in_but_no_staff_is_told_so(self) -> None:
        client = Client()
        client.force_login(UserFactory(email="member@example.com"))
        html = client.get("/admin/login/").content.decode()
        assert "You are logged in as member@example.com, who is not staff." in html

    def test_a_stranger_just_sees_the_form(self) -> None:
        assert "who is not staff" not in Client().get("/admin/login/").content.decode()


def test_the_name_of_a_page_keeps_the_object_as_it_is_written(staff: Client) -> None:
    key = ApiKeyFactory(name="nightly")
    html = staff.get(reverse("admin:users_apikey_change", args=[key.pk])).content.decode()
    assert re.search(r'tracking-tight">\s*nightly \(pk_', html)


def test_the_form_of_a_key_says_what_empty_terms_mean(staff: Client) -> None:
    key = ApiKeyFactory()
    form = staff.get(reverse("admin:users_apikey_change", args=[key.pk])).context["adminform"].form
    assert (
        form.fields["allowed_models"].help_text
        == "Names of models or aliases, separated by commas. Empty: every model."
    )
    assert form.fields["allowed_models"].widget.attrs["rows"] == 2
    assert form.fields["requests_per_minute"].help_text == "Empty: no limit of its own."
