"""/api/v3/webhooks: endpoints, their secrets, deliveries and the catalogue of events."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.actor import Actor
from apps.core.api.etag import expected_version
from apps.core.api.views import ListView, View
from apps.core.errors import InvalidInput, NotFound
from apps.core.models import Entity
from apps.events.api.idempotency import idempotent
from apps.integrations.api import examples
from apps.integrations.api.filters import DeliveryFilter
from apps.integrations.api.serializers import (
    DeliveryOutput,
    EndpointChangeInput,
    EndpointInput,
    EndpointOutput,
    EndpointSecretOutput,
    EventTypeListOutput,
    ReplayInput,
    ReplayOutput,
    SecretRotationInput,
)
from apps.integrations.models import WebhookDelivery, WebhookEndpoint
from apps.integrations.selectors.catalogue import catalogue
from apps.integrations.services.endpoints import (
    create_endpoint,
    delete_endpoint,
    rotate_secret,
    send_test,
    update_endpoint,
)
from apps.integrations.services.replaying import replay_delivery, replay_range
from apps.integrations.tasks import ring_on_commit


def parse(kind: type[Entity], text: str) -> UUID:
    """Return the UUID of a path's id. Raise NotFound: what is no id is not there either."""
    try:
        return kind.parse_id(text)
    except InvalidInput as error:
        raise NotFound() from error


def find_endpoint(actor: Actor, endpoint_id: str) -> WebhookEndpoint:
    """Return a visible endpoint. Raise NotFound."""
    found = WebhookEndpoint.objects.visible_to(actor).filter(id=parse(WebhookEndpoint, endpoint_id)).first()
    if found is None:
        raise NotFound()
    endpoint: WebhookEndpoint = found
    return endpoint


def answer(endpoint: WebhookEndpoint, *, status: int = 200) -> Response:
    """Return an endpoint with its ETag."""
    return Response(EndpointOutput(endpoint).data, status=status, headers={"ETag": endpoint.etag})


class EndpointListView(ListView):
    scopes: ClassVar[dict[str, str]] = {"GET": "webhooks:read", "POST": "webhooks:write"}
    roles: ClassVar[dict[str, str]] = {"POST": "admin"}
    serializer_class = EndpointOutput
    queryset = WebhookEndpoint.objects.none()

    @extend_schema(summary="List webhook endpoints", examples=[examples.answered(examples.ENDPOINT)])
    def get(self, request: Request) -> Response:
        return self.page(request, WebhookEndpoint.objects.visible_to(self.actor))

    @extend_schema(
        summary="Create a webhook endpoint",
        description="The secret that verifies signatures is in the answer and nowhere else.",
        request=EndpointInput,
        responses={201: EndpointSecretOutput},
        examples=[
            examples.asked({"url": "https://hooks.example.com/portico", "event_types": ["conversation.created"]}),
            examples.answered(examples.SECRET, status="201"),
        ],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        given = EndpointInput(data=request.data)
        given.is_valid(raise_exception=True)
        if self.actor.organization_id is None:
            raise NotFound("You act in no organization.")
        endpoint = create_endpoint(actor=self.actor, organization_id=self.actor.organization_id, **given.validated_data)
        return Response(EndpointSecretOutput(endpoint).data, status=201, headers={"ETag": endpoint.etag})


class EndpointView(View):
    scopes: ClassVar[dict[str, str]] = {
        "GET": "webhooks:read",
        "PATCH": "webhooks:write",
        "DELETE": "webhooks:write",
    }
    roles: ClassVar[dict[str, str]] = {"PATCH": "admin", "DELETE": "admin"}

    @extend_schema(
        summary="Get a webhook endpoint",
        responses={200: EndpointOutput},
        examples=[examples.answered(examples.ENDPOINT)],
    )
    def get(self, request: Request, endpoint_id: str) -> Response:
        return answer(find_endpoint(self.actor, endpoint_id))

    @extend_schema(
        summary="Change a webhook endpoint",
        description="Another URL, or switching it on, forgets its failures and sends what waits for a retry at once. "
        "The secret stays: signatures are all that a new URL ever sees of it. Honours If-Match.",
        request=EndpointChangeInput,
        responses={200: EndpointOutput},
        examples=[examples.asked({"is_active": True}), examples.answered(examples.ENDPOINT)],
    )
    def patch(self, request: Request, endpoint_id: str) -> Response:
        found = find_endpoint(self.actor, endpoint_id)
        given = EndpointChangeInput(data=request.data)
        given.is_valid(raise_exception=True)
        endpoint = update_endpoint(
            actor=self.actor,
            endpoint_id=found.id,
            changes=dict(given.validated_data),
            expected_version=expected_version(request),
        )
        ring_on_commit(endpoint.id)
        return answer(endpoint)

    @extend_schema(
        summary="Delete a webhook endpoint",
        description="URL and secrets are wiped; what is queued is not sent. Honours If-Match.",
        responses={204: None},
        examples=[examples.answered(None, status="204")],
    )
    def delete(self, request: Request, endpoint_id: str) -> Response:
        found = find_endpoint(self.actor, endpoint_id)
        delete_endpoint(actor=self.actor, endpoint_id=found.id, expected_version=expected_version(request))
        return Response(status=204)


class EndpointTestView(View):
    scopes: ClassVar[dict[str, str]] = {"POST": "webhooks:write"}
    roles: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(
        summary="Send a test event",
        description="Queues an event of type `webhook.test`; its delivery shows what came of it.",
        request=None,
        responses={202: DeliveryOutput},
        examples=[examples.answered(examples.DELIVERY, status="202")],
    )
    @idempotent
    def post(self, request: Request, endpoint_id: str) -> Response:
        found = find_endpoint(self.actor, endpoint_id)
        delivery = send_test(actor=self.actor, endpoint_id=found.id)
        ring_on_commit(found.id)
        return Response(DeliveryOutput(delivery).data, status=202)


class SecretRotationView(View):
    scopes: ClassVar[dict[str, str]] = {"POST": "webhooks:write"}
    roles: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(
        summary="Rotate an endpoint's secret",
        description="The new secret is in the answer and nowhere else. Requests carry signatures of both secrets until "
        "the overlap ends; a secret from an earlier rotation stops at once.",
        request=SecretRotationInput,
        responses={200: EndpointSecretOutput},
        examples=[examples.asked({"overlap_seconds": 3600}), examples.answered(examples.SECRET)],
    )
    @idempotent
    def post(self, request: Request, endpoint_id: str) -> Response:
        found = find_endpoint(self.actor, endpoint_id)
        given = SecretRotationInput(data=request.data)
        given.is_valid(raise_exception=True)
        overlap = timedelta(seconds=given.validated_data["overlap_seconds"])
        endpoint = rotate_secret(actor=self.actor, endpoint_id=found.id, overlap=overlap)
        return Response(EndpointSecretOutput(endpoint).data, headers={"ETag": endpoint.etag})


class DeliveryListView(ListView):
    scopes: ClassVar[dict[str, str]] = {"GET": "webhooks:read"}
    serializer_class = DeliveryOutput
    filterset_class = DeliveryFilter
    queryset = WebhookDelivery.objects.none()

    @extend_schema(
        summary="List an endpoint's deliveries",
        description="With request, response and timing of every attempt, newest first.",
        examples=[examples.answered(examples.DELIVERY)],
    )
    def get(self, request: Request, endpoint_id: str) -> Response:
        found = find_endpoint(self.actor, endpoint_id)
        deliveries = WebhookDelivery.objects.visible_to(self.actor).of_endpoint(found.id)
        return self.page(request, deliveries.prefetch_related("attempts"))


class DeliveryReplayView(View):
    scopes: ClassVar[dict[str, str]] = {"POST": "webhooks:write"}
    roles: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(
        summary="Send a delivery again",
        description="Under the same webhook id, with a fresh schedule, before later events of the same aggregate.",
        request=None,
        responses={202: DeliveryOutput},
        examples=[examples.answered(examples.DELIVERY, status="202")],
    )
    @idempotent
    def post(self, request: Request, endpoint_id: str, delivery_id: str) -> Response:
        found = find_endpoint(self.actor, endpoint_id)
        delivery = replay_delivery(
            actor=self.actor, endpoint_id=found.id, delivery_id=parse(WebhookDelivery, delivery_id)
        )
        ring_on_commit(found.id)
        return Response(DeliveryOutput(delivery).data, status=202)


class RangeReplayView(View):
    scopes: ClassVar[dict[str, str]] = {"POST": "webhooks:write"}
    roles: ClassVar[dict[str, str]] = {"POST": "admin"}

    @extend_schema(
        summary="Send the deliveries of a time range again",
        description="The oldest 10,000 at a time; ask again until `replayed` is 0.",
        request=ReplayInput,
        responses={202: ReplayOutput},
        examples=[
            examples.asked({"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z", "state": "dead"}),
            examples.answered({"replayed": 12}, status="202"),
        ],
    )
    @idempotent
    def post(self, request: Request, endpoint_id: str) -> Response:
        found = find_endpoint(self.actor, endpoint_id)
        given = ReplayInput(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        count = replay_range(
            actor=self.actor,
            endpoint_id=found.id,
            since=wanted["since"],
            until=wanted.get("until"),
            states=[wanted["state"]],
        )
        ring_on_commit(found.id)
        return Response({"replayed": count}, status=202)


class EventTypeListView(View):
    scopes: ClassVar[dict[str, str]] = {"GET": "webhooks:read"}

    @extend_schema(
        summary="List the events that webhooks can subscribe to",
        description="Generated from the code that publishes them: JSON Schema and an example of every body.",
        responses={200: EventTypeListOutput},
        examples=[examples.answered({"items": [examples.EVENT_TYPE]})],
    )
    def get(self, request: Request) -> Response:
        items: list[dict[str, Any]] = [asdict(entry) for entry in catalogue()]
        return Response({"items": items})
