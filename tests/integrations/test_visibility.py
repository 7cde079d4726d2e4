"""Who sees which rows."""

from __future__ import annotations

import pytest

from apps.core.actor import Actor, ActorKind, system_actor
from apps.core.errors import NotFound
from apps.core.ids import uuid7
from apps.integrations.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from apps.integrations.services.delivering import deliver_queue
from apps.integrations.services.endpoints import send_test
from tests.factories.integrations import WebhookDeliveryFactory


@pytest.mark.parametrize("model", [WebhookEndpoint, WebhookDelivery, WebhookAttempt])
def test_rows_are_seen_by_their_organization_and_the_platform_only(endpoint: WebhookEndpoint, model) -> None:
    WebhookDeliveryFactory(endpoint=endpoint)
    deliver_queue(endpoint_id=endpoint.id)
    seen = {
        name: model.objects.visible_to(actor).count()
        for name, actor in {
            "platform": system_actor(),
            "own": Actor(kind=ActorKind.USER, organization_id=endpoint.organization_id),
            "stranger": Actor(kind=ActorKind.USER, organization_id=uuid7()),
            "nowhere": Actor(kind=ActorKind.USER),
        }.items()
    }
    assert seen == {"platform": 1, "own": 1, "stranger": 0, "nowhere": 0}


def test_what_is_not_seen_cannot_be_acted_on(endpoint: WebhookEndpoint) -> None:
    stranger = Actor(kind=ActorKind.USER, organization_id=uuid7())
    with pytest.raises(NotFound):
        send_test(actor=stranger, endpoint_id=endpoint.id)
    assert WebhookDelivery.objects.count() == 0
