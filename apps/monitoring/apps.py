from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "apps.monitoring"

    def ready(self) -> None:
        from prometheus_client import REGISTRY

        from apps.monitoring.selectors.gauges import PlatformCollector

        REGISTRY.register(PlatformCollector())
