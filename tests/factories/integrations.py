"""Factories of the integrations house."""

from __future__ import annotations

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from apps.core.ids import uuid7
from apps.integrations.models import WebhookDelivery, WebhookEndpoint
from apps.integrations.services.signing import new_secret
from tests.factories.users import OrganizationFactory


class WebhookEndpointFactory(DjangoModelFactory):
    """An active endpoint that wants every public event. Pass `url=sink.url` to have something listen."""

    class Meta:
        model = WebhookEndpoint

    organization = factory.SubFactory(OrganizationFactory)
    url = "https://hooks.example.com/in"
    secret = factory.LazyFunction(new_secret)


class WebhookDeliveryFactory(DjangoModelFactory):
    """A delivery that is due now, alone under its ordering key."""

    class Meta:
        model = WebhookDelivery

    endpoint = factory.SubFactory(WebhookEndpointFactory)
    event_id = factory.LazyFunction(uuid7)
    event_type = "lantern.lit"
    occurred_at = factory.LazyFunction(timezone.now)
    ordering_key = factory.LazyAttribute(lambda delivery: f"lantern:{delivery.event_id}")
    sequence = 1
    body = '{"type":"lantern.lit"}'
    due_at = factory.LazyFunction(timezone.now)
