from typing import Any

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "apps.audit"

    def ready(self) -> None:
        from django.db import connections
        from django.db.backends.signals import connection_created
        from django.db.models.signals import post_migrate

        from apps.audit.services.attribution import attribute_connection
        from apps.audit.services.triggers import install_triggers
        from apps.core.partitions import register_partitioned

        register_partitioned("audit_change", column="changed_at")

        # Framework plumbing, not business flow: Django offers no other place to reach every connection, and none to
        # follow a migrate. Both calls are idempotent.
        def attribute(connection: Any, **_: Any) -> None:
            attribute_connection(connection)

        def follow_migrate(**_: Any) -> None:
            install_triggers()

        connection_created.connect(attribute, weak=False, dispatch_uid="audit.attribute")
        post_migrate.connect(follow_migrate, sender=self, weak=False, dispatch_uid="audit.install_triggers")
        for connection in connections.all(initialized_only=True):
            attribute_connection(connection)
