"""Factories of the users house."""

from __future__ import annotations

import factory
from factory.django import DjangoModelFactory
from oauth2_provider.generators import generate_client_secret

from apps.users.choices import Role
from apps.users.key_format import hash_secret, new_secret, shown_prefix
from apps.users.models import ApiKey, Membership, OAuthClient, Organization, Team, TeamMembership, User

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


class TeamFactory(DjangoModelFactory):
    class Meta:
        model = Team

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence(lambda n: f"Team {n}")
    slug = factory.Sequence(lambda n: f"team-{n}")


class TeamMembershipFactory(DjangoModelFactory):
    """A person in a team; `membership=` gives the one in its organization."""

    class Meta:
        model = TeamMembership

    class Params:
        membership = factory.SubFactory(MembershipFactory)

    user = factory.SelfAttribute("membership.user")
    team = factory.SubFactory(TeamFactory, organization=factory.SelfAttribute("..membership.organization"))


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


class OAuthClientFactory(DjangoModelFactory):
    """A client for people. `OAuthClientFactory.with_secret()` also gives the clear text; `machine=True` acts for itself."""

    class Meta:
        model = OAuthClient

    class Params:
        machine = factory.Trait(
            authorization_grant_type=OAuthClient.GRANT_CLIENT_CREDENTIALS,
            redirect_uris="",
            user=factory.SelfAttribute("membership.user"),
        )
        public = factory.Trait(client_type=OAuthClient.CLIENT_PUBLIC)
        membership = factory.SubFactory(MembershipFactory)

    name = factory.Sequence(lambda n: f"Client {n}")
    organization = factory.SelfAttribute("membership.organization")
    client_type = OAuthClient.CLIENT_CONFIDENTIAL
    authorization_grant_type = OAuthClient.GRANT_AUTHORIZATION_CODE
    redirect_uris = "https://client.example/callback"
    allowed_scopes = factory.LazyFunction(lambda: ["users:read", "models:read", "gateway:use"])

    @classmethod
    def with_secret(cls, **kwargs):
        """Return (client, secret)."""
        secret = generate_client_secret()
        return cls(client_secret=secret, **kwargs), secret
