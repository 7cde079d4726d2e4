"""Model fields that every house may use."""

from __future__ import annotations

from typing import Any

from django.db import models

from apps.core.encryption import decrypt, encrypt


class EncryptedTextField(models.TextField):
    """Text that is clear in Python and encrypted in the database. It cannot be filtered by; "" is stored as "".

    Dumps, replicas and row-change logs only ever see the ciphertext.
    """

    def get_prep_value(self, value: Any) -> Any:
        """Encrypt on the way in."""
        text = super().get_prep_value(value)
        return encrypt(text, context=self._context()) if text else text

    def from_db_value(self, value: str | None, expression: object, connection: object) -> str | None:
        """Decrypt on the way out."""
        return decrypt(value, context=self._context()) if value else value

    def get_lookup(self, lookup_name: str) -> Any:
        """Allow only what makes sense on a ciphertext: is it empty?"""
        return super().get_lookup(lookup_name) if lookup_name in {"isnull", "exact"} else None

    def _context(self) -> str:
        return f"{self.model._meta.db_table}.{self.column}"
