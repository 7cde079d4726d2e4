"""`manage.py web`: on a socket of its own, or on the one that `up` holds."""

import socket

import pytest
import uvicorn
from django.core.management import call_command

from apps.core.embedded.state import choose_port


@pytest.fixture
def served(monkeypatch):
    """Record the sockets that are served instead of serving them."""
    served = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: served.extend(sockets))
    yield served
    for listener in served:
        listener.close()


def test_it_serves_an_inherited_socket_as_what_it_is(served):
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        address = inherited.getsockname()
        call_command("web", fd=inherited.detach())
    [listener] = served
    assert listener.getsockname() == address
    assert listener.family == socket.AF_INET


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_alone_it_opens_its_own(served, host, family):
    port = choose_port()
    call_command("web", host=host, port=port)
    [listener] = served
    assert listener.getsockname()[:2] == (host, port)
    assert listener.family == family
