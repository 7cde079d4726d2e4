"""The chat page's door: who may enter, and what the page brings along."""

import re

import pytest
from django.urls import reverse

from tests.factories.users import MembershipFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader(client):
    """Return a browser with the session of an ordinary member."""
    client.force_login(MembershipFactory().user)
    return client


def test_the_start_page_leads_to_the_chat(client):
    answer = client.get("/")
    assert (answer.status_code, answer["Location"]) == (302, "/chat")


@pytest.mark.parametrize("address", ["/chat", "/chat/conv_01kar3d6f2e8k8w5g0q4z1v7xn"])
def test_a_stranger_is_asked_to_log_in_and_brought_back(client, address):
    answer = client.get(address)
    assert answer.status_code == 302
    assert answer["Location"] == f"{reverse('login')}?next={address}"


@pytest.mark.parametrize("address", ["/chat", "/chat/conv_01kar3d6f2e8k8w5g0q4z1v7xn", "/chat/nonsense"])
def test_the_page_is_the_same_whatever_the_address_names(reader, address):
    answer = reader.get(address)
    assert answer.status_code == 200
    assert "<chat-app" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]


def test_every_script_of_the_page_carries_the_nonce_of_its_policy(reader):
    answer = reader.get("/chat")
    nonce = re.search(r"script-src 'self' 'nonce-([^']+)'", answer["Content-Security-Policy"])[1]
    scripts = re.findall(r"<script\b[^>]*>", answer.content.decode())
    assert len(scripts) >= 4
    assert [script for script in scripts if f'nonce="{nonce}"' not in script] == []
    assert re.findall(r"\son\w+=|\sstyle=", answer.content.decode()) == []


@pytest.mark.parametrize("address", ["/", "/chat"])
def test_pages_are_only_read(reader, address):
    assert reader.post(address).status_code == 405
