"""What `up` says when everything runs."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from apps.core.supervisor.output import Output
from apps.core.supervisor.readying import Access

SANDBOX_MODEL = "sandbox-small"
QUESTION = "Say hello."


@dataclass(slots=True)
class Announcement:
    """Says once how to get in: with the banner, or at the end of a start that never came that far."""

    output: Output
    access: Access
    site_url: str
    data_dir: Path
    serves_web: bool
    begun: float
    is_made: bool = False

    def make(self) -> None:
        """Show the banner."""
        seconds = time.monotonic() - self.begun
        if self.serves_web:
            banner = build_banner(site_url=self.site_url, data_dir=self.data_dir, access=self.access, seconds=seconds)
        else:
            banner = f"\n  Portico is running without web (started in {seconds:.1f} s).\n\n"
        self.is_made = self.serves_web
        self.output.show(banner)

    def make_up_for(self) -> None:
        """Show new secrets that no banner has shown: nobody could ever read them again."""
        if not self.is_made and (self.access.admin_password or self.access.api_key):
            self.output.show("\n".join([*_describe_access(self.access), ""]))


def build_banner(*, site_url: str, data_dir: Path, access: Access, seconds: float) -> str:
    """Return the banner of an `up` that serves the web; secrets appear only in the start that made them."""
    places = [
        ("Chat", f"{site_url}/"),
        ("Admin", f"{site_url}/admin/"),
        ("API docs", f"{site_url}/api/docs"),
        ("API keys", f"{site_url}/keys"),
        ("Metrics", f"{site_url}/metrics"),
        ("Data", str(data_dir)),
    ]
    lines = ["", f"  Portico is running (started in {seconds:.1f} s).", ""]
    lines += [f"    {name:<10} {place}" for name, place in places]
    lines += ["", *_describe_access(access), "", "  Try it:", "", f"    {build_curl(site_url, access.api_key)}", ""]
    return "\n".join(lines) + "\n"


def _describe_access(access: Access) -> list[str]:
    if access.admin_password:
        administrator = f"{access.admin_email}  password: {access.admin_password}  (shown only now)"
    else:
        administrator = f"{access.admin_email}  (forgotten password: {sys.executable} manage.py changepassword {access.admin_email})"
    if access.api_key:
        key = f"{access.api_key}  (shown only now, unless it is your PORTICO_API_KEY)"
    else:
        key = f"{access.api_key_prefix}…  (not kept in clear; new ones: /keys, or start with PORTICO_API_KEY set)"
    return [f"    {'Log in':<10} {administrator}", f"    {'API key':<10} {key}"]


def build_curl(site_url: str, api_key: str | None) -> str:
    """Return one line for a shell that asks the sandbox model; without a known key it reads $PORTICO_API_KEY."""
    body = json.dumps({"model": SANDBOX_MODEL, "messages": [{"role": "user", "content": QUESTION}]})
    bearer = shlex.quote(f"Authorization: Bearer {api_key}") if api_key else '"Authorization: Bearer $PORTICO_API_KEY"'
    url = shlex.quote(f"{site_url}/v1/chat/completions")
    return f"curl -sS {url} -H {bearer} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
