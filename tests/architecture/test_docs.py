"""Links between documents lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.laws import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)[^)]*\)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def links_of(text: str) -> list[str]:
    """Return the targets of a document's links that lead to files or headings of ours; code holds no links."""
    return [target for target in LINK.findall(CODE.sub("", text)) if not ELSEWHERE.match(target)]


def anchors_of(text: str) -> set[str]:
    """Return what `#…` may name in a document, as GitHub makes it of the headings."""
    headings = HEADING.findall(re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: Path) -> list[str]:
    """Return the targets that are not there."""
    broken = []
    for target in links_of(document.read_text()):
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        if not path.exists() or (anchor and anchor not in anchors_of(path.read_text())):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_to_something(document):
    assert broken_links(document) == []


def test_a_link_to_nothing_is_found(tmp_path):
    document = tmp_path / "page.md"
    document.write_text(
        "# A page: of `ours`\n[a](page.md) [b](gone.md) ![c](gone.png) [d](#a-page-of-ours) [e](#gone)\n"
        "[f](https://example.com/gone) `[g](gone)`\n```\n[h](gone)\n```\n"
    )
    assert broken_links(document) == ["gone.md", "gone.png", "#gone"]
