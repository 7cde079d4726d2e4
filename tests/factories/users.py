"""Factories of the users house."""

from __future__ import annotations

import factory
from factory.django import DjangoModelFactory

from apps.users.choices import Role
from apps.users.key_format import hash_secret, new_secret, shown_prefix
from apps.users.models import ApiKey, Membership, Organization, User

PASSWORD = "correct horse battery staple"


class OrganizationFactory(DjangoModelFactory):
    class Meta:
        model = Organization

    name = factory.Sequence(lambda n: f"Organization {n}")
    slug = factory.Sequence(lambda n: f"organization-{n}")


class UserFactory(DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    email = factory.Sequence(lambda n: f"person{n}@example.com")
    name = factory.Sequence(lambda n: f"Person {n}")
    password = factory.django.Password(PASSWORD)


class MembershipFactory(DjangoModelFactory):
    class Meta:
        model = Membership

    user = factory.SubFactory(UserFactory)
    organization = factory.SubFactory(OrganizationFactory)
    role = Role.MEMBER


class ApiKeyFactory(DjangoModelFactory):
    """A key of a fresh member. `ApiKeyFactory.with_secret()` also gives the clear text."""

    class Meta:
        model = ApiKey

    class Params:
        secret = factory.LazyFunction(new_secret)
        membership = factory.SubFactory(MembershipFactory)

    organization = factory.SelfAttribute("membership.organization")
    user = factory.SelfAttribute("membership.user")
    name = "test key"
    prefix = factory.LazyAttribute(lambda key: shown_prefix(key.secret))
    secret_hash = factory.LazyAttribute(lambda key: hash_secret(key.secret))

    @classmethod
    def with_secret(cls, **kwargs):
        """Return (key, secret)."""
        secret = new_secret()
        return cls(secret=secret, **kwargs), secret
