from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "apps.events"

    def ready(self) -> None:
        from apps.core.partitions import register_partitioned
        from apps.events.services.idempotency import forget_old_requests
        from apps.events.services.sweeping import register_sweep

        register_partitioned("events_event", column="occurred_at")
        register_sweep("events.forget_old_requests", every_seconds=600, run=forget_old_requests)
