"""Organizations and accounts: who joins, who leaves, who stays the owner."""

from __future__ import annotations

import pytest

from apps.core.actor import Actor, system_actor
from apps.events.models import Event
from apps.users.choices import Role
from apps.users.errors import AlreadyMember, EmailTaken, LastOwner, PasswordWeak, RoleTooLow
from apps.users.models import Membership, Organization, User
from apps.users.selectors import actor_of_user
from apps.users.services.accounts import (
    activate_user,
    change_profile,
    create_user,
    mark_email_verified,
    set_password,
    suspend_user,
)
from apps.users.services.organizations import (
    activate_organization,
    add_membership,
    change_membership,
    create_organization,
    remove_membership,
    suspend_organization,
)
from tests.factories.users import MembershipFactory, OrganizationFactory, UserFactory
from tests.support.threads import run_together

pytestmark = pytest.mark.django_db


def acting(membership: Membership) -> Actor:
    return actor_of_user(user=membership.user, organization_id=membership.organization_id)


@pytest.fixture
def owner() -> Membership:
    return MembershipFactory(role=Role.OWNER)


def test_two_organizations_of_one_name_get_two_slugs() -> None:
    made = [create_organization(name="Acme & Söhne", owner=UserFactory(), actor=system_actor()) for _ in range(2)]

    assert made[0].slug != made[1].slug
    assert all(item.slug.startswith("acme-sohne-") for item in made)
    assert create_organization(name="…", owner=UserFactory(), actor=system_actor()).slug.startswith("organization-")


def test_the_first_organization_becomes_the_default_and_the_second_does_not() -> None:
    person = UserFactory()
    first = create_organization(name="A", owner=person, actor=system_actor())
    create_organization(name="B", owner=person, actor=system_actor())

    person.refresh_from_db()
    assert person.default_organization == first


@pytest.mark.parametrize(
    ("actors_role", "given", "is_allowed"),
    [
        ("owner", "owner", True),
        ("admin", "admin", True),
        ("admin", "owner", False),
        ("member", "viewer", False),
        ("viewer", "viewer", False),
    ],
)
def test_nobody_gives_a_role_above_their_own(actors_role: str, given: str, is_allowed: bool) -> None:
    membership = MembershipFactory(role=actors_role)
    newcomer = UserFactory()
    arguments = {"user": newcomer, "organization": membership.organization, "role": given}

    outcome = _try(lambda: add_membership(**arguments, actor=acting(membership)))

    assert type(outcome) is (Membership if is_allowed else RoleTooLow)
    assert Membership.objects.filter(user=newcomer).exists() is is_allowed


def _try(call):
    try:
        return call()
    except RoleTooLow as error:
        return error


def test_an_administrator_of_another_organization_gives_nothing(owner: Membership) -> None:
    with pytest.raises(RoleTooLow):
        add_membership(user=UserFactory(), organization=OrganizationFactory(), role=Role.VIEWER, actor=acting(owner))


def test_nobody_joins_twice(owner: Membership) -> None:
    with pytest.raises(AlreadyMember):
        add_membership(user=owner.user, organization=owner.organization, role=Role.VIEWER, actor=system_actor())
    owner.refresh_from_db()
    assert owner.role == Role.OWNER


def test_a_role_changes_and_the_event_says_from_what(owner: Membership) -> None:
    member = MembershipFactory(organization=owner.organization)

    change_membership(membership=member, role=Role.ADMIN, actor=acting(owner))
    change_membership(membership=member, role=Role.ADMIN, actor=acting(owner))

    [event] = Event.objects.filter(type="membership.role_changed")
    assert event.payload == {"user_id": str(member.user_id), "role": "admin", "previous_role": "member"}


def test_an_administrator_does_not_demote_an_owner(owner: Membership) -> None:
    admin = MembershipFactory(organization=owner.organization, role=Role.ADMIN)

    with pytest.raises(RoleTooLow):
        change_membership(membership=owner, role=Role.VIEWER, actor=acting(admin))
    with pytest.raises(RoleTooLow):
        remove_membership(membership=owner, actor=acting(admin))


def test_the_last_owner_stays(owner: Membership) -> None:
    with pytest.raises(LastOwner):
        change_membership(membership=owner, role=Role.ADMIN, actor=acting(owner))
    with pytest.raises(LastOwner):
        remove_membership(membership=owner, actor=acting(owner))

    MembershipFactory(organization=owner.organization, role=Role.OWNER)
    remove_membership(membership=owner, actor=acting(owner))
    assert not Membership.objects.filter(user=owner.user).exists()


def test_everybody_may_leave_and_the_default_goes_with_it(owner: Membership) -> None:
    member = MembershipFactory(organization=owner.organization)
    User.objects.filter(id=member.user_id).update(default_organization=owner.organization)

    remove_membership(membership=member, actor=acting(member))

    assert User.objects.get(id=member.user_id).default_organization is None
    assert Event.objects.get(type="membership.removed").payload == {"user_id": str(member.user_id)}


@pytest.mark.django_db(transaction=True)
def test_of_two_owners_who_leave_at_once_one_stays() -> None:
    organization = OrganizationFactory()
    owners = iter([MembershipFactory(organization=organization, role=Role.OWNER) for _ in range(2)])

    def leave() -> None:
        remove_membership(membership=next(owners), actor=system_actor())

    outcomes = run_together(leave, count=2)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["LastOwner", "NoneType"]
    assert Membership.objects.filter(organization=organization, role=Role.OWNER).count() == 1


def test_suspending_an_organization_twice_tells_once() -> None:
    organization = OrganizationFactory()
    for change in (suspend_organization, suspend_organization, activate_organization, activate_organization):
        change(organization=Organization.objects.get(id=organization.id), actor=system_actor())

    assert list(Event.objects.order_by("position").values_list("type", flat=True)) == [
        "organization.suspended",
        "organization.activated",
    ]


def test_suspending_a_person_twice_tells_once() -> None:
    person = UserFactory()
    for change in (suspend_user, suspend_user, activate_user, activate_user):
        change(user=User.objects.get(id=person.id), actor=system_actor())

    assert list(Event.objects.order_by("position").values_list("type", flat=True)) == [
        "user.suspended",
        "user.activated",
    ]


def test_an_address_is_taken_in_any_case() -> None:
    UserFactory(email="ada@example.com")

    with pytest.raises(EmailTaken):
        create_user(email="ADA@Example.com", password="x", actor=system_actor())
    assert User.objects.count() == 1


def test_a_profile_that_does_not_change_tells_nothing() -> None:
    person = UserFactory(name="Ada")

    change_profile(user=person, actor=system_actor(), name="Ada")

    assert not Event.objects.exists()


def test_a_weak_password_changes_nothing() -> None:
    person = UserFactory()
    before = person.password

    with pytest.raises(PasswordWeak) as caught:
        set_password(user=person, password="short", actor=system_actor())

    assert list(caught.value.errors) == ["password"]
    person.refresh_from_db()
    assert person.password == before


def test_no_event_carries_personal_text() -> None:
    create_user(email="grace@example.com", password="x", name="Grace Hopper", actor=system_actor())

    stored = str(list(Event.objects.values("payload", "actor")))
    assert "grace" not in stored.lower()


def test_an_address_is_verified_once() -> None:
    person = UserFactory()

    for _ in range(2):
        mark_email_verified(user=person, actor=system_actor())

    person.refresh_from_db()
    assert person.email_verified_at is not None
    assert Event.objects.filter(type="user.email_verified", aggregate_id=person.id).count() == 1
