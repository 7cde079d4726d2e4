"""The parts of an OAuth2 client, one step at a time, so that each can be done wrong."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.test import Client

from apps.users.models import OAuthClient

VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123"
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)"(?: value="([^"]*)")?')


def challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


class Flow:
    """One client and one person's browser."""

    def __init__(self, client: OAuthClient, secret: str, browser: Client) -> None:
        self.client, self.secret, self.browser = client, secret, browser
        self.machine = Client()

    def request(self, **changes: str | None) -> dict[str, str]:
        """Return a right authorization request, changed; None leaves a parameter out."""
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": "https://client.example/callback",
            "scope": "users:read",
            "state": "state-of-the-browser",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
        } | changes
        return {name: value for name, value in asked.items() if value is not None}

    def ask(self, **changes: str | None) -> Any:
        """Send the browser to the authorization endpoint."""
        return self.browser.get("/oauth/authorize", self.request(**changes))

    def consent(self, *, allow: bool = True, tamper: dict[str, str] | None = None, **changes: str | None) -> Any:
        """Ask, and answer the consent form as the page gave it (or tampered with)."""
        page = self.ask(**changes)
        assert page.status_code == 200, page.content
        fields = dict(HIDDEN.findall(page.content.decode())) | (tamper or {})
        if allow:
            fields["allow"] = "Authorize"
        return self.browser.post("/oauth/authorize", fields)

    def code(self, **changes: str | None) -> str:
        """Return a fresh authorization code."""
        return answer_of(self.consent(**changes))["code"]

    def token(self, *, secret: str | None = None, **changes: str | None) -> Any:
        """Call the token endpoint with the client's credentials."""
        headers = basic(self.client.client_id, secret if secret is not None else self.secret)
        body = {name: value for name, value in changes.items() if value is not None}
        return self.machine.post("/oauth/token", body, headers=headers)

    def exchange(self, a_code: str, /, **changes: str | None) -> Any:
        """Trade a code for tokens."""
        right = {
            "grant_type": "authorization_code",
            "code": a_code,
            "redirect_uri": "https://client.example/callback",
            "code_verifier": VERIFIER,
        }
        return self.token(**(right | changes))

    def refresh(self, refresh_token: str, **changes: str | None) -> Any:
        """Trade a refresh token for new tokens."""
        return self.token(**({"grant_type": "refresh_token", "refresh_token": refresh_token} | changes))


def answer_of(response: Any) -> dict[str, str]:
    """Return the parameters of a redirect back to the client."""
    assert response.status_code == 302, response.content
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["Location"]).query).items()}
