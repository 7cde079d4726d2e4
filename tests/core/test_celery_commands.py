"""`manage.py worker` and `manage.py beat` hand over to Celery."""

import os

import pytest
from celery import current_app
from django.core.management import call_command


@pytest.fixture
def started(monkeypatch):
    """Record what Celery is asked to run."""
    started = []
    monkeypatch.setattr(type(current_app._get_current_object()), "start", lambda self, argv: started.append(argv))
    return started


def test_the_worker_takes_a_process_for_each_core_up_to_four(started, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    call_command("worker")
    call_command("worker", "--concurrency=7", "--queues=normal,low")
    assert [[word for word in argv if word.startswith(("worker", "--conc", "--queues"))] for argv in started] == [
        ["worker", "--concurrency=4"],
        ["worker", "--concurrency=7", "--queues=normal,low"],
    ]


def test_beat_keeps_no_pid_file(started):
    call_command("beat")
    [argv] = started
    assert "beat" in argv
    assert "--pidfile=" in argv
