"""What is said when everything runs; the curl line works when pasted into a shell."""

import io
import json
import shlex
import time
from pathlib import Path

import pytest

from apps.core.supervisor.banner import Announcement, build_banner, build_curl
from apps.core.supervisor.output import Output
from apps.core.supervisor.readying import Access

SITE = "http://localhost:8000"


def say(access):
    return build_banner(site_url=SITE, data_dir=Path("/srv/portico"), access=access, seconds=3.21)


def test_it_says_where_everything_is():
    lines = [line.split() for line in say(Access("admin@portico.local")).splitlines() if line]
    assert ["Chat", f"{SITE}/"] in lines
    assert ["Admin", f"{SITE}/admin/"] in lines
    assert ["API", "docs", f"{SITE}/api/docs"] in lines
    assert ["API", "keys", f"{SITE}/keys"] in lines
    assert ["Metrics", f"{SITE}/metrics"] in lines
    assert ["Data", "/srv/portico"] in lines


def test_new_secrets_are_shown():
    banner = say(Access("admin@portico.local", "s3cret", "pk_live_new", "pk_live_n"))
    assert "admin@portico.local  password: s3cret  (shown only now)" in banner
    assert "pk_live_new  (shown only now" in banner


def test_old_secrets_are_not_known_and_the_way_to_new_ones_is():
    banner = say(Access("admin@portico.local", None, None, "pk_live_old"))
    assert "manage.py changepassword admin@portico.local" in banner
    assert "pk_live_old…  (not kept in clear; new ones: /keys, or start with PORTICO_API_KEY set)" in banner
    assert '"Authorization: Bearer $PORTICO_API_KEY"' in banner


def announce(access, *, serves_web=True):
    output = Output(io.BytesIO(), color=False)
    facts = {"site_url": SITE, "data_dir": Path("/srv/portico"), "begun": time.monotonic()}
    return Announcement(output=output, access=access, serves_web=serves_web, **facts)


def shown(announcement):
    return announcement.output.stream.getvalue().decode()


def test_new_secrets_are_shown_even_when_the_web_never_answered():
    announcement = announce(Access("admin@portico.local", "s3cret", "pk_live_new"))
    announcement.make_up_for()
    assert shown(announcement).count("s3cret") == shown(announcement).count("pk_live_new") == 1


def test_new_secrets_are_shown_even_without_web():
    announcement = announce(Access("admin@portico.local", "s3cret", "pk_live_new"), serves_web=False)
    announcement.make()
    assert "running without web" in shown(announcement)
    announcement.make_up_for()
    assert "s3cret" in shown(announcement)


def test_what_the_banner_has_shown_is_not_shown_again():
    announcement = announce(Access("admin@portico.local", "s3cret", "pk_live_new"))
    announcement.make()
    banner = shown(announcement)
    assert "Portico is running" in banner
    announcement.make_up_for()
    assert shown(announcement) == banner


def test_without_new_secrets_there_is_nothing_to_make_up_for():
    announcement = announce(Access("admin@portico.local"))
    announcement.make_up_for()
    assert shown(announcement) == ""


@pytest.mark.parametrize("key", ["pk_live_abc", 'it\'s $HOME `id` "quoted" and 32 characters long'])
def test_the_curl_line_survives_the_shell(key):
    words = shlex.split(build_curl(SITE, key))
    assert words[:3] == ["curl", "-sS", f"{SITE}/v1/chat/completions"]
    assert words[4] == f"Authorization: Bearer {key}"
    assert json.loads(words[-1])["messages"] == [{"role": "user", "content": "Say hello."}]
    assert "\n" not in build_curl(SITE, key)
