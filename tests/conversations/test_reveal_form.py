"""The reason for reading somebody's conversation is one that a person can read."""

import pytest

from apps.conversations.forms import RevealForm


@pytest.mark.parametrize("reason", ["", " " * 20, "too short", "\u200b" * 20, "\u202e" * 20, "." * 20, "a" + "-" * 20])
def test_what_nobody_can_read_is_no_reason(reason):
    assert not RevealForm({"reason": reason}).is_valid()


@pytest.mark.parametrize(
    "reason", ["Abuse report, ticket 4711", "用户投诉工单四七一一请求查看内容", "Жалоба пользователя №12"]
)
def test_words_of_any_script_are(reason):
    assert RevealForm({"reason": reason}).is_valid()
