"""Completeness is tested, not promised."""

from __future__ import annotations

import csv
import inspect
import re
from io import StringIO
from pathlib import Path

import pytest
import yaml
from django.core.management import call_command, get_commands
from django.urls import URLPattern, URLResolver, get_resolver

from apps.core.errors import describe_codes
from apps.events.events import event_types
from apps.events.services.subscriptions import subscriptions
from project.settings.environment import Environment
from tests.architecture.laws import ROOT

METHODS = ("get", "post", "put", "patch", "delete")
VARIABLES = {field.alias for field in Environment.model_fields.values()}


def normal(path: str) -> str:
    """Return a path with its parameters reduced to their places."""
    return re.sub(r"<[^>]*>|\{[^}]*\}", "{}", "/" + path.lstrip("/").removesuffix("$"))


def api_routes(patterns: list[URLPattern | URLResolver] | None = None, prefix: str = "") -> set[tuple[str, str]]:
    """Return (method, path) of every route below /api/v3."""
    found: set[tuple[str, str]] = set()
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found |= api_routes(pattern.url_patterns, path)
        elif normal(path).startswith("/api/v3/"):
            view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
            methods = getattr(pattern.callback, "http_methods", None) or [m for m in METHODS if hasattr(view, m)]
            found |= {(method.upper(), normal(path)) for method in methods}
    return found


@pytest.fixture(scope="module")
def document() -> dict:
    return yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())


@pytest.fixture(scope="module")
def operations(document: dict) -> dict[tuple[str, str], dict]:
    return {
        (method.upper(), normal(path)): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


@pytest.fixture(scope="module")
def matrix() -> dict[tuple[str, str], dict[str, str]]:
    rows = csv.DictReader((ROOT / "docs" / "permissions.csv").open())
    return {(row["method"], normal(row["path"])): row for row in rows}


def test_the_snapshot_is_what_the_code_says(tmp_path: Path) -> None:
    fresh = tmp_path / "openapi.yaml"
    call_command("spectacular", "--file", str(fresh), "--fail-on-warn", "--validate")
    assert fresh.read_text() == (ROOT / "docs" / "openapi.yaml").read_text(), "run `make docs`"


def test_routes_are_the_matrix_and_the_document(operations: dict, matrix: dict) -> None:
    routes = api_routes() - {("GET", "/api/v3/schema")}
    assert routes == {key for key in operations if key[1].startswith("/api/v3/")}
    assert routes | {("GET", "/api/v3/schema")} == set(matrix)


def test_every_operation_has_a_sentence_an_example_and_a_tag(operations: dict) -> None:
    lacking = [
        f"{method} {path}"
        for (method, path), operation in operations.items()
        if not (operation.get("summary") or operation.get("description"))
        or not operation.get("tags")
        or (has_body(operation) and "example" not in str(operation))
    ]
    assert lacking == []


def has_body(operation: dict) -> bool:
    """Tell whether JSON goes in, or comes out when all goes well."""
    answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    return "requestBody" in operation or any("content" in answer for answer in answers)


def test_every_setting_is_in_the_example_file_and_the_docs() -> None:
    example = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    documented = set(
        re.findall(r"^\| `([A-Z][A-Z0-9_]+)`", (ROOT / "docs" / "settings.md").read_text(), flags=re.MULTILINE)
    )
    assert example >= VARIABLES
    assert documented == VARIABLES


def test_every_event_has_a_subscriber_or_a_written_reason() -> None:
    heard = {name for entry in subscriptions().values() for name in entry.types or ()}
    ours = [event for event in event_types().values() if event.__module__.startswith("apps.")]
    silent = [e.type for e in ours if e.type not in heard and not e.is_public and not e.unheard_because]
    assert len(ours) > 10
    assert silent == []


def test_every_event_is_described_with_an_example_of_each_field() -> None:
    ours = [event for event in event_types().values() if event.__module__.startswith("apps.")]
    assert [
        e.type for e in ours if not inspect.getdoc(e) or set(e.example) != {f.name for f in e.payload_fields()}
    ] == []


def test_every_command_has_help_and_a_test() -> None:
    commands = [name for name, app in get_commands().items() if app.startswith("apps.")]
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(commands) > 5
    assert [name for name in commands if not re.search(rf'["\']{name}["\']', tests)] == []
    for name in commands:
        out = StringIO()
        with pytest.raises(SystemExit) as ended:
            call_command(name, "--help", stdout=out)
        assert ended.value.code == 0


def test_every_house_has_a_front_page_and_a_page_in_the_docs() -> None:
    houses = [path for path in (ROOT / "apps").iterdir() if (path / "__init__.py").exists()]
    assert [h.name for h in houses if len((h / "__init__.py").read_text()) < 80] == []
    assert [h.name for h in houses if not (ROOT / "docs" / "houses" / f"{h.name}.md").exists()] == []


def test_every_error_code_is_stable_and_in_the_docs() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    assert [code for code in describe_codes() if f"`{code}`" not in text] == []
