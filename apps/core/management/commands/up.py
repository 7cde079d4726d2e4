"""`manage.py up`: everything, on one machine, from one command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.supervisor.banner import Announcement
from apps.core.supervisor.health import HealthProbe
from apps.core.supervisor.launch import Stage
from apps.core.supervisor.options import add_arguments
from apps.core.supervisor.premises import Premises
from apps.core.supervisor.programs import build_programs, get_ready_to_fork
from apps.core.supervisor.readying import get_ready
from apps.core.supervisor.supervisor import Supervisor

PRODUCTION_SETTINGS = "project.settings.production"


class Command(BaseCommand):
    help = (
        "Start everything: Postgres and Redis (embedded unless DATABASE_URL and REDIS_URL are set), migrations, the "
        "first administrator and API key, then web, worker, beat and relay. Ctrl-C or SIGTERM stops it all."
    )
    # Checked in handle(), with the stricter ones of production.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        premises = Stage.premises
        if premises is None:
            raise CommandError("Run it as `python manage.py up`: the services start before Django does.")
        Path(settings.STATIC_ROOT).mkdir(exist_ok=True)
        self.check(include_deployment_checks=settings.SETTINGS_MODULE == PRODUCTION_SETTINGS)
        premises.wait_for_services()
        access = get_ready(may_migrate=not options["no_migrate"], say=premises.output.say)
        announcement = Announcement(
            output=premises.output,
            access=access,
            site_url=settings.SITE_URL,
            data_dir=settings.DATA_DIR,
            serves_web=premises.listener is not None,
            begun=premises.begun,
        )
        try:
            if not Stage.is_asked_to_stop:
                self._run_programs(premises, announcement)
        finally:
            announcement.make_up_for()

    def _run_programs(self, premises: Premises, announcement: Announcement) -> None:
        plan = premises.plan
        get_ready_to_fork(plan.programs)
        supervisor = Supervisor(services=premises.services, output=premises.output, remember=premises.remember)

        def let_go() -> None:
            premises.let_go()
            supervisor.let_go()

        probe = HealthProbe(plan.host, plan.port) if premises.listener else None
        supervisor.run(build_programs(premises, let_go), probe=probe, announce=announcement.make)
