"""Write the documents that the code dictates: settings, error codes, permissions, the OpenAPI snapshot.

`make docs` writes them; `python -m docs.generate --check` only tells whether they are current (exit code 1 if not).
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import django
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver

from apps.core.errors import describe_codes
from project.settings.environment import Environment

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("get", "post", "put", "patch", "delete")


def _default(name: str) -> str:
    value = Environment.model_fields[name].default
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, Path):
        return value.name
    return "" if value is None else str(value)


def _choices(name: str) -> str:
    """Return the values that may be given, if they are counted: ` (interval, always)`."""
    annotation = Environment.model_fields[name].annotation
    return f" ({', '.join(get_args(annotation))})" if get_origin(annotation) is Literal else ""


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Portico is set up by environment variables, or by the same names in a `.env` file beside `manage.py`. Unknown",
        "variables are ignored; a bad value stops the start with the variable's name. Secrets have no default anywhere:",
        "`manage.py up` generates them into `PORTICO_DATA/secrets` (mode 0600), production takes them from your secret store.",
        "",
        "| variable | default | what it does |",
        "| --- | --- | --- |",
    ]
    for name, field in Environment.model_fields.items():
        default = f"`{_default(name)}`" if _default(name) else ""
        lines.append(f"| `{field.alias}` | {default} | {field.description}{_choices(name)} |")
    return "\n".join(lines) + "\n"


def env_example() -> str:
    """Return .env.example: every variable, commented out, with its default."""
    lines = ["# Every variable that Portico reads; docs/settings.md says the same as a table.", ""]
    for name, field in Environment.model_fields.items():
        lines += [f"# {field.description}{_choices(name)}", f"#{field.alias}={_default(name)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def errors_page() -> str:
    """Return docs/errors.md: every code with its status and title."""
    lines = [
        "# Error codes",
        "",
        "Every refusal has a stable code. `/api/v3` answers RFC 9457 problem details whose `type` leads to the code's",
        "entry here; `/v1` puts the same code into the OpenAI error object. The sentence in `detail` names the entity, the",
        "limit and the remedy and may change; the code does not.",
        "",
        "| code | status | title |",
        "| --- | --- | --- |",
    ]
    lines += [f"| `{code}` | {error.status} | {error.title} |" for code, error in describe_codes().items()]
    return "\n".join(lines) + "\n"


def routes(patterns: list[URLPattern | URLResolver] | None = None, prefix: str = "") -> list[tuple[str, str, Any]]:
    """Return (method, path, view) of every route below /api/v3."""
    found: list[tuple[str, str, Any]] = []
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += routes(pattern.url_patterns, path)
        elif path.startswith("api/v3/"):
            view = getattr(pattern.callback, "cls", None) or pattern.callback
            methods = getattr(view, "http_methods", None) or [m for m in METHODS if hasattr(view, m)]
            found += [(method.upper(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", "/" + path), view) for method in methods]
    return sorted(found, key=lambda route: (route[1], route[0]))


def permissions_page() -> str:
    """Return docs/permissions.csv: who may call what."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["method", "path", "open", "scope", "role", "staff"])
    for method, path, view in routes():
        is_open = getattr(view, "is_open", False)
        scope = "" if is_open else getattr(view, "scopes", {}).get(method, "MISSING")
        default = "viewer" if method == "GET" else "member"
        role = "" if is_open else getattr(view, "roles", {}).get(method, default)
        is_staff = "yes" if getattr(view, "staff_only", False) else "no"
        rows.writerow([method, path, "yes" if is_open else "no", scope, role, is_staff])
    return out.getvalue()


def openapi_page() -> str:
    """Return docs/openapi.yaml; raise when the generator has a warning."""
    path = ROOT / "var" / "openapi.yaml"
    path.parent.mkdir(exist_ok=True)
    call_command("spectacular", "--file", str(path), "--fail-on-warn", "--validate")
    return path.read_text()


DOCUMENTS: dict[str, Callable[[], str]] = {
    ".env.example": env_example,
    "docs/settings.md": settings_page,
    "docs/errors.md": errors_page,
    "docs/permissions.csv": permissions_page,
    "docs/openapi.yaml": openapi_page,
}


def main() -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name what is not current")
    check = parser.parse_args().check
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings.test")
    django.setup()
    _ = get_resolver().url_patterns  # loads every house, and with it every error code
    stale = []
    for name, build in DOCUMENTS.items():
        path, text = ROOT / name, build()
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
                print(f"wrote {name}")
    if check and stale:
        print(f"not current: {', '.join(stale)} (run `make docs`)", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
