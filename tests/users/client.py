"""A browser for tests: forms with CSRF, and API calls as a program makes them."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client

from tests.factories.users import PASSWORD

TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Browser(Client):
    """A test client that checks CSRF and submits forms the way a person does: look at the page first."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(enforce_csrf_checks=True, **kwargs)

    def submit(self, page: str, fields: dict[str, Any], *, action: str = "", **kwargs: Any) -> Any:
        """Load `page` and post the fields to it (or to `action`) with its CSRF token."""
        html = self.get(page).content.decode()
        found = TOKEN.search(html)
        assert found, f"{page} has no form"
        return self.post(action or page, {"csrfmiddlewaretoken": found[1], **fields}, **kwargs)

    def log_in(self, email: str, password: str = PASSWORD, **kwargs: Any) -> Any:
        """Log in on the login page."""
        return self.submit("/login", {"username": email, "password": password}, **kwargs)


def post(client: Client, path: str, body: dict[str, Any], **headers: str) -> Any:
    """Post JSON."""
    return client.post(path, body, content_type="application/json", headers=headers or None)


def log_in(client: Client, email: str, password: str = PASSWORD, **headers: str) -> Any:
    """Log in over the API."""
    return post(client, "/api/v3/auth/login", {"email": email, "password": password}, **headers)


def bearer(token: str) -> dict[str, str]:
    """Return the header of a bearer."""
    return {"Authorization": f"Bearer {token}"}
