"""Factories of the gateway house."""

from __future__ import annotations

import factory
from factory.django import DjangoModelFactory

from apps.gateway.choices import Capability, GuardMode, LimitScope, ProviderKind, Tier
from apps.gateway.models import CachePolicy, Deployment, GuardBinding, GuardPolicy, Limit, Model, Provider
from tests.factories.users import OrganizationFactory


class ProviderFactory(DjangoModelFactory):
    """A provider in the process itself; give `kind` and `base_url` for one on the network."""

    class Meta:
        model = Provider

    slug = factory.Sequence(lambda n: f"provider-{n}")
    kind = ProviderKind.SANDBOX
    name = factory.LazyAttribute(lambda provider: provider.slug.title())


class ModelFactory(DjangoModelFactory):
    class Meta:
        model = Model

    name = factory.Sequence(lambda n: f"model-{n}")
    tier = Tier.T1
    context_window = 8192
    max_output_tokens = 1024
    capabilities = factory.LazyFunction(lambda: [Capability.CHAT.value])
    owned_by = "tests"


class DeploymentFactory(DjangoModelFactory):
    """A chat model at a sandbox provider."""

    class Meta:
        model = Deployment

    model = factory.SubFactory(ModelFactory)
    provider = factory.SubFactory(ProviderFactory)
    upstream_model = factory.SelfAttribute("model.name")


class LimitFactory(DjangoModelFactory):
    """A limit of the whole platform, on each key by itself."""

    class Meta:
        model = Limit

    scope = LimitScope.KEY
    requests_per_minute = 10


class CachePolicyFactory(DjangoModelFactory):
    """An exact cache for a whole organization, with free hits."""

    class Meta:
        model = CachePolicy

    organization = factory.SubFactory(OrganizationFactory)


class GuardPolicyFactory(DjangoModelFactory):
    """A policy of the platform that masks personal data in prompts and answers."""

    class Meta:
        model = GuardPolicy

    name = factory.Sequence(lambda n: f"policy {n}")
    pii_input = GuardMode.MASK
    pii_output = GuardMode.MASK


class GuardBindingFactory(DjangoModelFactory):
    """A policy for everybody; name an organization, a team or a key to narrow it."""

    class Meta:
        model = GuardBinding

    policy = factory.SubFactory(GuardPolicyFactory)
