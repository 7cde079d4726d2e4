"""WebSockets to paths that do not exist are refused, known caller or not."""

from types import SimpleNamespace

import pytest
from channels.testing import WebsocketCommunicator

from apps.core.actor import ANONYMOUS
from apps.users import sockets
from project.asgi import application


@pytest.mark.parametrize("path", ["/nope", "/v1/chat/completions", "/", "/api/v3/chat/ws/more"])
async def test_an_unknown_path_is_refused(monkeypatch, path):
    known = SimpleNamespace(actor=ANONYMOUS, user=None, credential=None)
    monkeypatch.setattr(sockets, "_identify", lambda *args: known)
    assert await WebsocketCommunicator(application, path).connect() == (False, 4404)


async def test_who_is_not_known_learns_no_paths():
    assert await WebsocketCommunicator(application, "/nope").connect() == (False, 4401)
