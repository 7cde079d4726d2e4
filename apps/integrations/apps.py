from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    name = "apps.integrations"

    def ready(self) -> None:
        from apps.core.partitions import register_partitioned
        from apps.events.services import register_sweep, subscribe
        from apps.integrations import tasks
        from apps.integrations.subscribers import is_offered, queue_webhooks

        register_partitioned("integrations_webhookdelivery", column="occurred_at", keep_months=3)
        register_partitioned("integrations_webhookattempt", column="started_at", keep_months=3)
        subscribe("integrations.webhooks", to=None, handler=queue_webhooks, accepts=is_offered)
        register_sweep("integrations.webhooks", every_seconds=tasks.SWEEP_SECONDS, run=tasks.ring_endpoints_with_work)
