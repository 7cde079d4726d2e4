"""The laws that import contracts cannot state. Each is a function from a source file to its violations."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400
MOST_REPEATED_LINES = 7
FRONT_DOORS = {"models", "querysets", "services", "selectors", "events", "errors", "choices", "key_format", "scopes"}
# The plumbing that an entrance shares with the entrances of houses below it.
ENTRANCE_DOORS = {"api", "sockets", "forms", "admin"}
ENTRANCES = {"api", "views", "consumers", "edge", "admin", "urls", "forms"}
WRITES = {
    "create", "acreate", "update", "aupdate", "delete", "adelete", "bulk_create", "abulk_create", "bulk_update",
    "get_or_create", "aget_or_create", "update_or_create", "aupdate_or_create",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One module: its path below the root, its text, its tree."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def house(self) -> str:
        parts = self.path.split("/")
        return parts[1] if parts[0] == "apps" and len(parts) > 2 else ""

    @property
    def room(self) -> str:
        parts = self.path.split("/")
        return parts[2].removesuffix(".py") if self.house else ""


def sources() -> Iterator[Source]:
    """Yield every module of the product, migrations left out."""
    for top in ("apps", "project"):
        for path in sorted((ROOT / top).rglob("*.py")):
            if "migrations" not in path.parts:
                yield Source(str(path.relative_to(ROOT)), path.read_text())


def imported_modules(tree: ast.AST) -> Iterator[tuple[int, str, list[str]]]:
    """Yield line, module and names of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, []


def enter_by_the_front_door(source: Source) -> list[str]:
    """Other houses are entered by models, querysets, services, selectors, events, errors and choices only."""
    found = []
    for line, module, names in imported_modules(source.tree):
        parts = module.split(".")
        if parts[0] != "apps" or len(parts) < 2 or not source.house or parts[1] in {source.house, "core"}:
            continue
        rooms = parts[2:3] or names
        doors = FRONT_DOORS | (ENTRANCE_DOORS if source.room in ENTRANCES else set())
        found += [f"{source.path}:{line} enters {parts[1]} by {room}" for room in rooms if room not in doors]
    return found


def _write_chain(node: ast.Call) -> tuple[str, str] | None:
    """Return (model name, verb) of `Model.objects….verb(…)`."""
    if not isinstance(node.func, ast.Attribute) or node.func.attr not in WRITES:
        return None
    current: ast.expr = node.func.value
    while isinstance(current, ast.Attribute | ast.Call):
        if isinstance(current, ast.Attribute) and current.attr == "objects" and isinstance(current.value, ast.Name):
            return current.value.id, node.func.attr
        current = current.func if isinstance(current, ast.Call) else current.value
    return None


def write_only_your_own_rows(source: Source) -> list[str]:
    """Rows of another house are written by that house's services."""
    tree = source.tree
    foreign = {
        name: module
        for _, module, names in imported_modules(tree)
        if module.startswith("apps.") and ".models" in module and module.split(".")[1] != source.house
        for name in names
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (chain := _write_chain(node)) and chain[0] in foreign:
            found.append(f"{source.path}:{node.lineno} writes {foreign[chain[0]]}.{chain[0]} ({chain[1]})")
    return found


def name_models_directly(source: Source) -> list[str]:
    """`apps.get_model` belongs to migrations."""
    return [
        f"{source.path}:{node.lineno} calls get_model"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get_model"
    ]


def import_at_the_top(source: Source) -> list[str]:
    """An import inside a function hides a cycle; only `AppConfig.ready` may."""
    return [
        f"{source.path}:{inner.lineno} imports inside {node.name}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "ready"
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]


def know_no_http(source: Source) -> list[str]:
    """Below the entrances nobody knows HTTP (the import contract covers DRF and Channels, this Django's own)."""
    if source.room in ENTRANCES | {"management", "middleware", "sockets", "oauth", "apps", ""} or source.house in {
        "core"
    }:
        return []
    return [
        f"{source.path}:{line} knows {module}"
        for line, module, _ in imported_modules(source.tree)
        if module.startswith(("django.http", "django.views", "django.shortcuts"))
    ]


def stay_small(source: Source) -> list[str]:
    """A module has at most 400 lines."""
    lines = source.text.count("\n")
    return [f"{source.path} has {lines} lines"] if lines > MAX_LINES else []


def publish_instead_of_signals(source: Source) -> list[str]:
    """Signals are not business flow: no `@receiver`."""
    return [
        f"{source.path}:{node.lineno} is a signal receiver"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "receiver"
    ]


def reach_rows_through_the_actor(source: Source) -> list[str]:
    """`.objects.all()` does not appear in api/."""
    return [f"{source.path} reads .objects.all()"] if source.room == "api" and ".objects.all()" in source.text else []


def find_copies(found: Iterable[Source]) -> list[str]:
    """Return the functions of more than seven lines whose bodies are also those of another function."""
    homes: dict[str, list[str]] = defaultdict(list)
    for source in found:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = "\n".join(map(ast.unparse, node.body[ast.get_docstring(node) is not None :]))
                homes[body].append(f"{source.path}:{node.lineno} {node.name}")
    return [
        " is a copy of ".join(places)
        for body, places in homes.items()
        if len(places) > 1 and body.count("\n") >= MOST_REPEATED_LINES
    ]


LAWS: list[Callable[[Source], list[str]]] = [
    enter_by_the_front_door,
    write_only_your_own_rows,
    name_models_directly,
    import_at_the_top,
    know_no_http,
    stay_small,
    publish_instead_of_signals,
    reach_rows_through_the_actor,
]
