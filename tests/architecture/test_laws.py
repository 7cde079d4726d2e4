"""The laws of the street hold, and each of them can fail."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture import laws
from tests.architecture.laws import LAWS, ROOT, Source
from tests.architecture.lint_migrations import LEFT_OUT, lint


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_product_obeys(law: Callable[[Source], list[str]]) -> None:
    assert [violation for source in laws.sources() for violation in law(source)] == []


@pytest.mark.parametrize(
    ("law", "path", "text"),
    [
        (laws.enter_by_the_front_door, "apps/billing/services.py", "from apps.users.tasks import work\n"),
        (laws.enter_by_the_front_door, "apps/billing/services.py", "from apps.users.api.permissions import HasScope\n"),
        (laws.enter_by_the_front_door, "apps/billing/services.py", "from apps.users import middleware\n"),
        (
            laws.write_only_your_own_rows,
            "apps/billing/services.py",
            "from apps.users.models import User\nUser.objects.filter(id=1).exclude(id=2).update(name='x')\n",
        ),
        (
            laws.name_models_directly,
            "apps/billing/services.py",
            "from django.apps import apps\napps.get_model('a', 'B')\n",
        ),
        (laws.import_at_the_top, "apps/billing/services.py", "def charge():\n    import json\n"),
        (laws.know_no_http, "apps/billing/services.py", "from django.http import HttpResponse\n"),
        (laws.stay_small, "apps/billing/services.py", "x = 1\n" * 401),
        (
            laws.publish_instead_of_signals,
            "apps/billing/services.py",
            "from django.dispatch import receiver\n@receiver(1)\ndef react(): ...\n",
        ),
        (laws.reach_rows_through_the_actor, "apps/billing/api/views.py", "rows = Price.objects.all()\n"),
    ],
)
def test_a_planted_violation_is_caught(law: Callable[[Source], list[str]], path: str, text: str) -> None:
    assert len(law(Source(path, text))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("apps/billing/services.py", "from apps.users.models import User\nUser.objects.filter(id=1).count()\n"),
        ("apps/billing/api/views.py", "from apps.users.api.permissions import HasScope\n"),
        ("apps/billing/apps.py", "class C:\n    def ready(self):\n        import json\n"),
        ("apps/billing/services.py", "x = 1\n" * 400),
    ],
)
def test_what_is_lawful_is_not_caught(path: str, text: str) -> None:
    assert [violation for law in LAWS for violation in law(Source(path, text))] == []


def test_nothing_is_there_twice() -> None:
    assert laws.find_copies(laws.sources()) == []


def test_a_copy_is_caught_whatever_it_is_called_and_documented_as() -> None:
    lines = "".join(f"    light({number})\n" for number in range(8))
    found = [
        Source("apps/billing/services.py", f'def charge():\n    """Charge."""\n{lines}'),
        Source("apps/events/services.py", f"async def relay():\n{lines}"),
        Source("apps/users/services.py", f"def greet():\n{lines.replace('5', '7')}"),
    ]
    assert laws.find_copies(found) == ["apps/billing/services.py:1 charge is a copy of apps/events/services.py:1 relay"]


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Return a copy of the product's modules in which a violation can be planted."""
    for top in ("apps", "project"):
        shutil.copytree(ROOT / top, tmp_path / top, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(street: Path) -> subprocess.CompletedProcess[str]:
    linter = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([linter, "--no-cache"], cwd=street, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "text", "contract"),
    [
        ("apps/core/ids.py", "import apps.users.models\n", "The street"),
        ("apps/users/choices.py", "import apps.users.models\n", "The rooms"),
        ("apps/users/odds_and_ends.py", "", "The rooms"),
        ("apps/newhouse/__init__.py", "", "The street"),
        ("apps/users/selectors.py", "import rest_framework\n", "Below the entrances"),
        ("apps/users/choices.py", "import project.urls\n", "Apps don't know the wiring"),
    ],
)
def test_import_contracts_catch_a_planted_violation(street: Path, module: str, text: str, contract: str) -> None:
    planted = street / module
    planted.parent.mkdir(exist_ok=True)
    with planted.open("a") as file:
        file.write(text)
    result = lint_imports(street)
    assert result.returncode == 1
    broken = re.findall(r"^(.*?) (KEPT|BROKEN)$", result.stdout.replace(" \n", " "), flags=re.MULTILINE)
    assert [name for name, verdict in broken if verdict == "BROKEN" and name.startswith(contract)] != []


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("ALTER TABLE lamp ADD COLUMN watts integer NOT NULL;", 1),
        ("CREATE INDEX lamp_watts ON lamp (watts);", 1),
        ("ALTER TABLE lamp ADD COLUMN watts integer;", 0),
    ],
)
def test_a_migration_that_would_block_the_old_code_is_caught(tmp_path: Path, sql: str, code: int) -> None:
    path = tmp_path / "lamp.0002_watts.sql"
    path.write_text(sql)
    assert lint([path], left_out=set(LEFT_OUT)) == code
