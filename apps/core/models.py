"""Abstract bases. The kernel owns no table; these give every house the same first columns."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.ids import decode_id, encode_id, uuid7


class Entity(models.Model):
    """A row with a UUIDv7 key, a public id with `ID_PREFIX`, and times of birth and change."""

    ID_PREFIX: ClassVar[str] = "obj"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(auto_now_add=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)

    class Meta:
        abstract = True

    @property
    def public_id(self) -> str:
        """Return the id as people meet it, for example `conv_01h455vb4pex5vsknk084sn02q`."""
        return encode_id(self.ID_PREFIX, self.id)

    @classmethod
    def parse_id(cls, text: str) -> UUID:
        """Return the UUID of a public id of this kind; raise InvalidInput for anything else."""
        return decode_id(cls.ID_PREFIX, text)


class VersionedEntity(Entity):
    """An entity with an optimistic lock: `version` rises with every save and is its ETag."""

    version = models.PositiveIntegerField(default=1, editable=False)

    class Meta:
        abstract = True

    @property
    def etag(self) -> str:
        """Return the strong validator of this version of the row."""
        return f'"{self.version}"'


class LivingProcess(models.Model):
    """A process that looks after rows of its own, and until when it may be taken for alive."""

    id = models.UUIDField(primary_key=True, editable=False)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    lease_until = models.DateTimeField()
    suspected_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    @property
    def is_alive(self) -> bool:
        """Tell whether the lease still runs."""
        return self.lease_until > timezone.now()
