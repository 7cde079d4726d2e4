"""Cursors that callers made up are refused, never a failure of ours."""

from base64 import b64encode

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from apps.conversations.models import Message
from apps.core.api.pagination import CursorPagination
from apps.core.errors import InvalidInput


class ByNumber(CursorPagination):
    ordering = "number"


def page(query: dict[str, str]) -> object:
    request = Request(APIRequestFactory().get("/api/v3/things", query))
    return ByNumber().paginate_queryset(Message.objects.none(), request)


@pytest.mark.parametrize("position", ["", "abc", "\0", "1.5", "2020-99-99", "'"])
def test_a_position_that_no_row_has_is_refused(position):
    cursor = b64encode(f"p={position}\n".encode()).decode()
    with pytest.raises(InvalidInput, match="not made by this list") as refused:
        page({"cursor": cursor})
    assert refused.value.errors == {"cursor": ["This cursor was not made by this list; begin without one."]}


def test_a_position_that_a_row_may_have_passes():
    assert page({"cursor": b64encode(b"p=7").decode()}) == []


def test_a_defect_of_the_list_itself_is_not_blamed_on_a_cursor(monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("a defect")

    monkeypatch.setattr(CursorPagination.__base__, "paginate_queryset", fail)
    with pytest.raises(ValueError, match="a defect"):
        page({})
