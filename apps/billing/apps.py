from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "apps.billing"

    def ready(self) -> None:
        from apps.core.partitions import register_partitioned

        for table in ("billing_usage_record", "billing_ledger_transaction", "billing_posting", "billing_adjustment"):
            register_partitioned(table, column="created_at")
