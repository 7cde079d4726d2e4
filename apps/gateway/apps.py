from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "apps.gateway"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Listen for prices; replay the journals of dead processes; check settings."""
        from apps.billing.events import PriceChanged
        from apps.events.services import register_sweep, subscribe
        from apps.gateway import subscribers
        from apps.gateway.services.sweeping import replay_journals

        subscribe("gateway.refresh_prices", to=[PriceChanged], handler=subscribers.refresh_prices)
        register_sweep("gateway.replay_journals", every_seconds=5, run=replay_journals)
