"""States of a delivery."""

from django.db import models


class DeliveryState(models.TextChoices):
    PENDING = "pending", "Pending"
    DEAD = "dead", "Dead letter"
