from django.apps import AppConfig
from django.conf import settings


class GatewayConfig(AppConfig):
    name = "apps.gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Listen for prices; replay the journals of dead processes; check settings."""
        from apps.billing.events import PriceChanged
        from apps.core.partitions import register_partitioned
        from apps.events.services import register_sweep, subscribe
        from apps.gateway import subscribers
        from apps.gateway.services.caching.policies import sweep_cached_answers
        from apps.gateway.services.probing import SWEEP_SECONDS, probe_providers
        from apps.gateway.services.responses.keeping import expire_responses, fail_abandoned_responses
        from apps.gateway.services.sweeping import record_left_guard_hits, replay_journals
        from apps.users.events import MembershipRemoved

        subscribe("gateway.refresh_prices", to=[PriceChanged], handler=subscribers.refresh_prices)
        subscribe("gateway.forget_cached_answers", to=[MembershipRemoved], handler=subscribers.forget_cached_answers)
        register_sweep("gateway.sweep_cached_answers", every_seconds=60, run=sweep_cached_answers)
        register_sweep("gateway.replay_journals", every_seconds=5, run=replay_journals)
        register_sweep("gateway.record_left_guard_hits", every_seconds=30, run=record_left_guard_hits)
        register_sweep("gateway.fail_abandoned_responses", every_seconds=5, run=fail_abandoned_responses)
        register_sweep("gateway.expire_responses", every_seconds=600, run=expire_responses)
        register_partitioned(
            "gateway_response_event", column="created_at", keep_months=settings.RESPONSES_KEEP_DAYS // 28 + 2
        )
        register_sweep("gateway.probe_providers", every_seconds=SWEEP_SECONDS, run=probe_providers)
        register_partitioned("gateway_health_check", column="checked_at", keep_months=settings.GATEWAY_PROBE_MONTHS)
        register_partitioned("gateway_guard_hit", column="created_at", keep_months=13)
