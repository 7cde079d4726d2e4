"""Encrypted fields: sealed, bound to their place, rotatable."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import models
from hypothesis import given
from hypothesis import strategies as st

from apps.core.encryption import decrypt, encrypt, parse_keys
from apps.events.models import IdempotentRequest

OLD, NEW = ("old:" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
NEW = NEW.replace("old", "new")


@given(st.text())
def test_what_is_sealed_comes_back(text: str) -> None:
    sealed = encrypt(text, context="t.c")
    assert decrypt(sealed, context="t.c") == text
    assert encrypt(text, context="t.c") != sealed


def test_a_ciphertext_opens_only_in_its_column() -> None:
    with pytest.raises(ValueError, match="belongs elsewhere"):
        decrypt(encrypt("x", context="t.a"), context="t.b")


def test_a_changed_ciphertext_is_refused() -> None:
    head, _, body = encrypt("x", context="t.a").rpartition(":")
    raw = bytearray(base64.b64decode(body))
    raw[-1] ^= 1
    with pytest.raises(ValueError, match="changed outside"):
        decrypt(f"{head}:{base64.b64encode(raw).decode()}", context="t.a")


def test_the_newest_key_seals_and_older_ones_open(settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = OLD
    sealed = encrypt("x", context="t.a")
    settings.FIELD_ENCRYPTION_KEYS = f"{NEW},{OLD}"
    assert decrypt(sealed, context="t.a") == "x"
    assert encrypt("x", context="t.a").startswith("v1:new:")
    settings.FIELD_ENCRYPTION_KEYS = NEW
    with pytest.raises(ValueError, match="'old' is not configured"):
        decrypt(sealed, context="t.a")


def test_without_a_key_nothing_is_stored(settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = ""
    with pytest.raises(ImproperlyConfigured, match="PORTICO_FIELD_ENCRYPTION_KEYS"):
        encrypt("x", context="t.a")


@pytest.mark.parametrize("text", ["nokey", "a:!!!", "a:c2hvcnQ=", f":{OLD.split(':')[1]}"])
def test_a_malformed_key_is_named_by_place_and_never_shown(text: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        parse_keys(f"{OLD},{text}")
    assert "entry 2" in str(caught.value)
    assert text not in str(caught.value)


def test_a_field_is_clear_in_python_and_empty_stays_empty(db: None) -> None:
    row = IdempotentRequest.objects.create(caller="c", key="k", fingerprint="f", status=200, body="clear")
    empty = IdempotentRequest.objects.create(caller="c", key="k2", fingerprint="f", status=200, body="")
    assert IdempotentRequest.objects.get(pk=row.pk).body == "clear"
    assert IdempotentRequest.objects.get(pk=empty.pk).body == ""
    raw = IdempotentRequest.objects.annotate(raw=models.functions.Cast("body", models.TextField())).get(pk=empty.pk)
    assert raw.raw == ""


def test_a_sealed_field_cannot_be_searched(db: None) -> None:
    with pytest.raises(FieldError):
        IdempotentRequest.objects.filter(body__contains="clear").count()
