"""Server-sent events, cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.providers import sse
from apps.gateway.providers.base import UpstreamBroken
from apps.gateway.providers.sse import SseDecoder


def decode(*reads: bytes) -> list[tuple[str, bytes]]:
    decoder = SseDecoder()
    return [event for read in reads for event in decoder.feed(read)] + decoder.close()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data:  a\n\n", [("", b" a")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", b"a"), ("", b"b")]),
        (b"data: a\r\rdata: b\r\r", [("", b"a"), ("", b"b")]),
        (b"event: ping\ndata: {}\n\ndata: x\n\n", [("ping", b"{}"), ("", b"x")]),
        (b"event: only\n\ndata: x\n\n", [("", b"x")]),
        (b"data: one\ndata: two\n\n", [("", b"one\ntwo")]),
        (b": ping\n\nid: 1\nretry: 5\nunknown\ndata: a\n\n", [("", b"a")]),
        (b"data: a\n\n\n\n\ndata: b", [("", b"a"), ("", b"b")]),
        (b"", []),
        (b"\n\n", []),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events(stream: bytes, events: list[tuple[str, bytes]], size: int) -> None:
    assert decode(*(stream[at : at + size] for at in range(0, len(stream), size))) == events


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1), max_size=5), st.data())
def test_what_is_sent_arrives_however_it_is_cut(texts: list[str], data: st.DataObject) -> None:
    stream = b"".join(b"data: " + text.encode() + b"\r\n\r\n" for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    reads = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert decode(*reads) == [("", text.encode()) for text in texts]


@pytest.mark.parametrize("reads", [[b"data: " + b"x" * 90, b"y" * 20], [b"data: x\n"] * 200])
def test_an_event_that_never_ends_is_broken(reads: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)

    with pytest.raises(UpstreamBroken, match="more than 100 bytes"):
        decode(*reads)


def test_many_events_together_may_be_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)

    assert len(decode(b"data: 0123456789\n\n" * 50, b"data: 0123456789\n\n" * 50)) == 100
