"""What `up` says when everything runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from apps.core.supervisor.readying import Access

SANDBOX_MODEL = "sandbox"
QUESTION = "Say hello."


def build_banner(*, site_url: str, data_dir: Path, access: Access, seconds: float) -> str:
    """Return the banner of an `up` that serves the web; secrets appear only in the start that made them."""
    places = [
        ("Chat", f"{site_url}/"),
        ("Admin", f"{site_url}/admin/"),
        ("API docs", f"{site_url}/api/docs"),
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
        administrator = f"{access.admin_email}  (forgotten password: manage.py changepassword {access.admin_email})"
    if access.api_key:
        key = f"{access.api_key}  (shown only now, unless it is your PORTICO_API_KEY)"
    else:
        key = f"{access.api_key_prefix}…  (not kept in clear; a new one: manage.py create_api_key)"
    return [f"    {'Log in':<10} {administrator}", f"    {'API key':<10} {key}"]


def build_curl(site_url: str, api_key: str | None) -> str:
    """Return one line for a shell that asks the sandbox model; without a known key it reads $PORTICO_API_KEY."""
    body = json.dumps({"model": SANDBOX_MODEL, "messages": [{"role": "user", "content": QUESTION}]})
    bearer = shlex.quote(f"Authorization: Bearer {api_key}") if api_key else '"Authorization: Bearer $PORTICO_API_KEY"'
    url = shlex.quote(f"{site_url}/v1/chat/completions")
    return f"curl -sS {url} -H {bearer} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
