"""`manage.py webhook_events`: write the catalogue of public events as a page of the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.integrations.selectors.catalogue import PublicEvent, catalogue

HEAD = """# Webhook events

Generated from the event classes by `manage.py webhook_events`; do not edit. The same catalogue, with the JSON Schema of
every body, is at `GET /api/v3/webhooks/event-types`. How to receive webhooks: [guides/webhooks.md](guides/webhooks.md).

Every body has `type`, `timestamp` (when it happened, RFC 3339, UTC) and `data`. In `data`, `aggregate` names what it
happened to and counts its events: those of one aggregate arrive in the order of `version`.

"""


class Command(BaseCommand):
    help = "Write docs/webhook-events.md from the event classes."

    def add_arguments(self, parser: CommandParser) -> None:
        default = Path(settings.BASE_DIR) / "docs" / "webhook-events.md"
        parser.add_argument("--file", type=Path, default=default, help="where to write it")
        parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is not current")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        text = render(catalogue())
        if not options["check"]:
            path.write_text(text)
            self.stdout.write(f"{path} is current.")
        elif not path.exists() or path.read_text() != text:
            raise CommandError(f"{path} is not current: run manage.py webhook_events.")


def render(events: list[PublicEvent]) -> str:
    """Return the page."""
    index = "\n".join(f"- [`{event.type}`](#{event.type.replace('.', '')})" for event in events)
    return HEAD + index + "\n" + "".join(f"\n{_render_event(event)}" for event in events)


def _render_event(event: PublicEvent) -> str:
    example = orjson.dumps(event.example, option=orjson.OPT_INDENT_2).decode()
    rows = "\n".join(_render_fields(event.schema["properties"]["data"]["properties"]))
    table = f"| field of `data` | type |\n| --- | --- |\n{rows}\n"
    return f"## {event.type}\n\n{event.description}\n\n{table}\n```json\n{example}\n```\n"


def _render_fields(properties: dict[str, Any]) -> list[str]:
    return [f"| `{name}` | {_name_type(schema)} |" for name, schema in properties.items()]


def _name_type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_name_type(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "pattern" in schema:
        return f"id `{schema['pattern'].removeprefix('^').partition('_[')[0]}_…`"
    if schema.get("type") == "array":
        return f"list of {_name_type(schema.get('items') or schema.get('prefixItems', [{}])[0])}"
    return str(schema.get("format") or schema.get("type") or "any")
