"""What is said when everything runs; the curl line works when pasted into a shell."""

import json
import shlex
from pathlib import Path

import pytest

from apps.core.supervisor.banner import build_banner, build_curl
from apps.core.supervisor.readying import Access

SITE = "http://localhost:8000"


def say(access):
    return build_banner(site_url=SITE, data_dir=Path("/srv/portico"), access=access, seconds=3.21)


def test_it_says_where_everything_is():
    lines = [line.split() for line in say(Access("admin@portico.local")).splitlines() if line]
    assert ["Chat", f"{SITE}/"] in lines
    assert ["Admin", f"{SITE}/admin/"] in lines
    assert ["API", "docs", f"{SITE}/api/docs"] in lines
    assert ["Metrics", f"{SITE}/metrics"] in lines
    assert ["Data", "/srv/portico"] in lines


def test_new_secrets_are_shown():
    banner = say(Access("admin@portico.local", "s3cret", "pk_live_new", "pk_live_n"))
    assert "admin@portico.local  password: s3cret  (shown only now)" in banner
    assert "pk_live_new  (shown only now" in banner


def test_old_secrets_are_not_known_and_the_way_to_new_ones_is():
    banner = say(Access("admin@portico.local", None, None, "pk_live_old"))
    assert "manage.py changepassword admin@portico.local" in banner
    assert "pk_live_old…  (not kept in clear; a new one: manage.py create_api_key)" in banner
    assert '"Authorization: Bearer $PORTICO_API_KEY"' in banner


@pytest.mark.parametrize("key", ["pk_live_abc", 'it\'s $HOME `id` "quoted" and 32 characters long'])
def test_the_curl_line_survives_the_shell(key):
    words = shlex.split(build_curl(SITE, key))
    assert words[:3] == ["curl", "-sS", f"{SITE}/v1/chat/completions"]
    assert words[4] == f"Authorization: Bearer {key}"
    assert json.loads(words[-1])["messages"] == [{"role": "user", "content": "Say hello."}]
    assert "\n" not in build_curl(SITE, key)
