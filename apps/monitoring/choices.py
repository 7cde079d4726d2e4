"""Words of the monitoring house."""

from django.db import models


class Health(models.TextChoices):
    """`degraded` still serves; `down` does not."""

    OK = "ok", "OK"
    DEGRADED = "degraded", "Degraded"
    DOWN = "down", "Down"
