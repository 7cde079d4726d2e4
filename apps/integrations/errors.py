"""Failures of the integrations house."""

from apps.core.errors import Conflict, InvalidInput


class UrlRefused(InvalidInput):
    code, title = "integrations.url_refused", "Webhooks cannot be sent to this URL"


class EventTypeUnknown(InvalidInput):
    code, title = "integrations.event_type_unknown", "There is no such public event"


class TooManyEndpoints(Conflict):
    code, title = "integrations.too_many_endpoints", "The organization has as many webhook endpoints as it may have"


class EndpointDisabled(Conflict):
    code, title = "integrations.endpoint_disabled", "The webhook endpoint is switched off"


class DeliveryUnderWay(Conflict):
    code, title = "integrations.delivery_under_way", "The delivery is still in the queue"
