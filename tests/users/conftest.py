"""What the tests of the users house share."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.events.services.delivering import deliver_next
from apps.users.models import User
from tests.factories.users import MembershipFactory
from tests.users.client import Browser


@pytest.fixture
def person(db: None) -> User:
    """Return somebody with a confirmed address, an organization, and the factories' password."""
    membership = MembershipFactory(role="owner", user__email="ada@example.com")
    membership.user.default_organization = membership.organization
    membership.user.save()
    return membership.user


@pytest.fixture
def browser() -> Browser:
    """Return a browser that nobody is logged in with; it checks CSRF as a real one must pass it."""
    return Browser()


@pytest.fixture
def logged_in(person: User) -> Client:
    """Return `person`'s browser."""
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def deliver(db: None):
    """Return a function that carries every stored event to its subscribers, as the relay does."""

    def run() -> None:
        while deliver_next():
            pass

    return run
