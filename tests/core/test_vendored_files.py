"""What the browser loads from others is exactly what they published, and is written down."""

import hashlib
import re
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parents[2]
VENDOR = BASE_DIR / "static" / "vendor"
OWN = {"README.md", "checksums.txt"}
SOURCES = [
    *(BASE_DIR / "static").rglob("*.js"),
    *(BASE_DIR / "static").rglob("*.css"),
    *(BASE_DIR / "templates").rglob("*.html"),
]


def read_checksums():
    lines = (VENDOR / "checksums.txt").read_text().splitlines()
    return {name.removeprefix("./"): digest for digest, name in (line.split("  ", 1) for line in lines)}


def hash_files(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in OWN]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_vendored_file_has_its_checksum_and_nothing_else_lies_there():
    assert hash_files(VENDOR) == read_checksums()


def test_a_changed_byte_would_be_seen(tmp_path):
    (tmp_path / "lit").mkdir()
    (tmp_path / "lit" / "index.js").write_bytes((VENDOR / "lit" / "index.js").read_bytes() + b" ")
    assert hash_files(tmp_path)["lit/index.js"] != read_checksums()["lit/index.js"]


def test_every_vendored_package_is_in_the_table_with_version_hash_and_licence():
    table = (VENDOR / "README.md").read_text()
    rows = re.findall(r"^\| `([\w.-]+)` \| (\S+) \| (\d+\.\d+\.\d+) \| `([0-9a-f]{64})` \|", table, re.MULTILINE)
    assert {row[0] for row in rows} == {path.name for path in VENDOR.iterdir() if path.is_dir()}
    assert [row[0] for row in rows if not (VENDOR / row[0] / "LICENSE").is_file()] == []


def test_our_pages_load_nothing_from_elsewhere():
    loads = re.compile(r"""(?:src|href|import|url\()\s*[=(]?\s*["']?(?:https?:)?//""")
    ours = [path for path in SOURCES if VENDOR not in path.parents]
    assert [path.name for path in ours if loads.search(path.read_text())] == []
