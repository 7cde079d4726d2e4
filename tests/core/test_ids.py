"""Ids: ordered in time, readable, strict."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from apps.core import ids
from apps.core.errors import InvalidInput
from apps.core.ids import decode_id, encode_id, time_of, uuid7


def test_ids_rise_within_a_process_over_threads() -> None:
    made: list[list[UUID]] = [[] for _ in range(4)]

    def make(into: list[UUID]) -> None:
        into.extend(uuid7() for _ in range(2000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(part == sorted(part) for part in made)
    assert len({found for part in made for found in part}) == 8000


def test_an_id_is_a_version_7_uuid_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_last", 0)  # other tests move the clock
    before = datetime.now(UTC)
    made = uuid7()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert abs(time_of(made) - before) < timedelta(seconds=1)


def test_a_clock_that_was_far_ahead_does_not_date_later_ids() -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(days=365), tick=False):
        ahead, next_ahead = uuid7(), uuid7()
    after, next_after = uuid7(), uuid7()
    assert ahead < next_ahead
    assert after < next_after < ahead
    assert abs(time_of(after) - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_clock_that_is_set_back_a_little_keeps_the_order() -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=5), tick=False):
        ahead = uuid7()
    assert uuid7() > ahead


# The published valid pairs of the TypeID specification.
@pytest.mark.parametrize(
    ("text", "uuid"),
    [
        ("prefix_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"),
        ("prefix_7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        ("prefix_0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"),
        ("prefix_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"),
    ],
)
def test_the_text_form_is_typeid(text: str, uuid: str) -> None:
    assert encode_id("prefix", UUID(uuid)) == text
    assert decode_id("prefix", text) == UUID(uuid)
    assert decode_id("prefix", uuid) == UUID(uuid)


@given(st.uuids())
def test_every_id_comes_back(value: UUID) -> None:
    assert decode_id("conv", encode_id("conv", value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "conv_",
        "msg_01h455vb4pex5vsknk084sn02q",
        "conv_81h455vb4pex5vsknk084sn02q",
        "conv_01h455vb4pex5vsknk084sn02i",
        "1",
    ],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_id("conv", text)
    assert (caught.value.code, caught.value.status) == ("invalid_id", 400)
    assert "conv_…" in caught.value.message
