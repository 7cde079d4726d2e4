"""States of webhook deliveries and endpoints."""

from django.db import models


class DeliveryState(models.TextChoices):
    WAITING = "waiting", "Behind an earlier one"
    PENDING = "pending", "Due"
    SENDING = "sending", "Being sent"
    SUCCEEDED = "succeeded", "Succeeded"
    DEAD = "dead", "Given up"


# An ordering key has at most one delivery that is due or being sent; the others of the key wait behind it.
OPEN_STATES = (DeliveryState.WAITING, DeliveryState.PENDING, DeliveryState.SENDING)
LIVE_STATES = (DeliveryState.PENDING, DeliveryState.SENDING)
FINAL_STATES = (DeliveryState.SUCCEEDED, DeliveryState.DEAD)


class DisabledReason(models.TextChoices):
    MANUAL = "manual", "Switched off"
    GONE = "gone", "The receiver answered 410 Gone"
    FAILING = "failing", "Failed for days"
