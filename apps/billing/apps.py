from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "apps.billing"

    def ready(self) -> None:
        """Keep months of records apart; release the quota of dead processes; tell of budgets that are being used up."""
        from apps.billing.services.alerts import evaluate_budgets
        from apps.billing.services.leases import release_expired
        from apps.core.partitions import register_partitioned
        from apps.events.services import register_sweep

        for table in ("billing_usage_record", "billing_ledger_transaction", "billing_posting", "billing_adjustment"):
            register_partitioned(table, column="created_at")

        register_sweep("billing.release_leases", every_seconds=5, run=release_expired)
        register_sweep("billing.evaluate_budgets", every_seconds=5, run=evaluate_budgets)
