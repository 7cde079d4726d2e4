from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "apps.conversations"

    def ready(self) -> None:
        from apps.conversations.services.deltas import tend_delta_days
        from apps.conversations.services.leases import forget_the_past, interrupt_abandoned_runs
        from apps.events.services.sweeping import register_sweep

        register_sweep("conversations.interrupt_abandoned_runs", every_seconds=2, run=interrupt_abandoned_runs)
        register_sweep("conversations.tend_delta_days", every_seconds=3600, run=tend_delta_days)
        register_sweep("conversations.forget_the_past", every_seconds=600, run=forget_the_past)
