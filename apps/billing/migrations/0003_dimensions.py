from __future__ import annotations

from typing import Any

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models, transaction

import apps.core.ids
from apps.core.partitions import append_only_sql, create_partitioned_sql

TIERS = [("standard", "Standard"), ("batch", "Batch"), ("flex", "Flex"), ("priority", "Priority")]
LONG_HELP = "Micro-USD per million tokens; empty: as for short prompts."
# Everything up to the indexes may be run again by who finds it half done: the last operation holds all or nothing.
KEY_COLUMNS = """
    ALTER TABLE billing_usage_hour ADD COLUMN IF NOT EXISTS team_id uuid;
    ALTER TABLE billing_usage_hour ADD COLUMN IF NOT EXISTS endpoint varchar(64) DEFAULT '' NOT NULL;
    ALTER TABLE billing_price ADD COLUMN IF NOT EXISTS service_tier varchar(16) DEFAULT 'standard' NOT NULL;
"""
DROP_HOUR_KEY = """
    -- squawk-ignore ban-drop-constraint
    ALTER TABLE billing_usage_hour DROP CONSTRAINT billing_usage_hour_once;
"""
# The hours of before knew no endpoint: they are summed up again from their records. Nobody adds to them meanwhile.
REBUILD_HOURS = """
    LOCK TABLE billing_usage_hour IN ACCESS EXCLUSIVE MODE;
    DELETE FROM billing_usage_hour;
    INSERT INTO billing_usage_hour (
        hour, organization_id, user_id, api_key_id, model, provider, endpoint, currency, requests, errors, prompt_tokens,
        completion_tokens, cached_tokens, cost_micros, latency_ms_sum, first_token_ms_sum, first_token_count
    )
    SELECT date_trunc('hour', created_at, 'UTC'), organization_id, user_id, api_key_id, model, provider, endpoint,
        currency, count(*), count(*) FILTER (WHERE status IN ('error', 'interrupted')), sum(prompt_tokens),
        sum(completion_tokens), sum(cached_tokens), sum(cost_micros), sum(latency_ms), coalesce(sum(first_token_ms), 0),
        count(first_token_ms)
    FROM billing_usage_record
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
"""
# Two rows of one hour that differ in the new columns only are new. A process of the release before that records usage
# between the exchange and its own end is refused, keeps its journal, and a new one records it.
EXCHANGE_KEYS = """
    ALTER TABLE billing_usage_hour
        ADD CONSTRAINT billing_usage_hour_once_each UNIQUE USING INDEX billing_usage_hour_once_each;
    -- squawk-ignore ban-drop-constraint
    ALTER TABLE billing_price DROP CONSTRAINT billing_price_once_per_moment;
    ALTER TABLE billing_price ADD CONSTRAINT billing_price_once_per_tier UNIQUE USING INDEX billing_price_once_per_tier;
"""
HOUR_KEY = ["organization_id", "hour", "user_id", "api_key_id", "team_id", "provider", "model", "endpoint", "currency"]
PRICE_KEY = ["provider", "model", "service_tier", "valid_from"]


class Together(migrations.SeparateDatabaseAndState):
    """Run operations in one transaction, in a migration that as a whole must not be in one."""

    def __init__(self, operations: list[Any]) -> None:
        super().__init__(database_operations=operations, state_operations=operations)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return (self.__class__.__name__, [self.database_operations], {})

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        with transaction.atomic(using=schema_editor.connection.alias):
            super().database_forwards(app_label, schema_editor, from_state, to_state)


def build_index(name: str, on: str) -> list[migrations.RunSQL]:
    """Return operations that build a unique index beside the traffic; one that a killed run left half made goes first."""
    return [
        migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", migrations.RunSQL.noop),
        migrations.RunSQL(
            f"-- squawk-ignore ban-concurrent-index-creation-in-transaction\nCREATE UNIQUE INDEX CONCURRENTLY {name} ON {on}",
            migrations.RunSQL.noop,
        ),
    ]


def long_price(name: str) -> models.PositiveBigIntegerField:
    return models.PositiveBigIntegerField(f"{name}, long", null=True, blank=True, help_text=LONG_HELP)


def add_long_price(field: str, name: str) -> migrations.AddField:
    return migrations.AddField("price", field, long_price(name))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0002_budgets")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(KEY_COLUMNS, migrations.RunSQL.noop),
                *build_index(
                    "billing_usage_hour_once_each", f"billing_usage_hour ({', '.join(HOUR_KEY)}) NULLS NOT DISTINCT"
                ),
                *build_index("billing_price_once_per_tier", f"billing_price ({', '.join(PRICE_KEY)})"),
            ],
            state_operations=[
                migrations.AddField("usagehour", "team_id", models.UUIDField(null=True)),
                migrations.AddField(
                    "usagehour", "endpoint", models.CharField(blank=True, db_default="", default="", max_length=64)
                ),
                migrations.AddField(
                    "price",
                    "service_tier",
                    models.CharField(
                        choices=TIERS,
                        db_default="standard",
                        default="standard",
                        help_text="As the provider's answer tells it. A tier without a price costs what the standard one does.",
                        max_length=16,
                    ),
                ),
                migrations.RemoveConstraint("usagehour", "billing_usage_hour_once"),
                migrations.AddConstraint(
                    "usagehour",
                    models.UniqueConstraint(fields=HOUR_KEY, name="billing_usage_hour_once_each", nulls_distinct=False),
                ),
                migrations.RemoveConstraint("price", "billing_price_once_per_moment"),
                migrations.AddConstraint(
                    "price", models.UniqueConstraint(fields=PRICE_KEY, name="billing_price_once_per_tier")
                ),
            ],
        ),
        Together(
            [
                migrations.RunSQL(DROP_HOUR_KEY, migrations.RunSQL.noop),
                migrations.RunSQL(REBUILD_HOURS, migrations.RunSQL.noop),
                migrations.RunSQL(EXCHANGE_KEYS, migrations.RunSQL.noop),
                migrations.AddField("usagerecord", "team_id", models.UUIDField(null=True)),
                migrations.AddField(
                    "usagerecord",
                    "tags",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64),
                        blank=True,
                        db_default=models.Value("{}"),
                        default=list,
                        size=None,
                    ),
                ),
                migrations.AddField(
                    "usagerecord",
                    "service_tier",
                    models.CharField(choices=TIERS, db_default="standard", default="standard", max_length=16),
                ),
                migrations.AddField(
                    "usagerecord", "cache_write_1h_tokens", models.PositiveIntegerField(db_default=0, default=0)
                ),
                migrations.AddField(
                    "price",
                    "cache_write_1h_micros",
                    models.PositiveBigIntegerField(
                        "cache write, 1 hour",
                        blank=True,
                        help_text="Micro-USD per million prompt tokens written to a cache that stays for an hour; empty: as any cache write.",
                        null=True,
                    ),
                ),
                migrations.AddField(
                    "price",
                    "long_after_tokens",
                    models.PositiveIntegerField(
                        "long after",
                        blank=True,
                        help_text="A prompt of more tokens than these costs the prices below.",
                        null=True,
                    ),
                ),
                add_long_price("long_input_micros", "input"),
                add_long_price("long_output_micros", "output"),
                add_long_price("long_cached_micros", "cached input"),
                add_long_price("long_cache_write_micros", "cache write"),
                add_long_price("long_cache_write_1h_micros", "cache write, 1 hour"),
                migrations.AlterField(
                    "ledgertransaction",
                    "kind",
                    models.CharField(
                        choices=[("usage", "Usage"), ("adjustment", "Adjustment of a call's cost")], max_length=16
                    ),
                ),
                migrations.CreateModel(
                    name="Adjustment",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("created_at", models.DateTimeField()),
                        ("recorded_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ("record_id", models.UUIDField()),
                        ("revision", models.PositiveSmallIntegerField()),
                        ("repricing_id", models.UUIDField()),
                        ("price_id", models.UUIDField()),
                        ("organization_id", models.UUIDField()),
                        ("provider", models.CharField(max_length=64)),
                        ("model", models.CharField(max_length=200)),
                        ("currency", models.CharField(default="USD", max_length=3)),
                        ("old_cost_micros", models.PositiveBigIntegerField()),
                        ("new_cost_micros", models.PositiveBigIntegerField()),
                        ("amount_micros", models.BigIntegerField()),
                    ],
                    options={
                        "db_table": "billing_adjustment",
                        "indexes": [
                            models.Index(fields=["record_id", "created_at"], name="billing_adjustment_record"),
                            models.Index(fields=["repricing_id"], name="billing_adjustment_repricing"),
                        ],
                        "constraints": [
                            models.CheckConstraint(
                                condition=models.Q(
                                    ("amount_micros", models.F("new_cost_micros") - models.F("old_cost_micros"))
                                ),
                                name="billing_adjustment_difference",
                            )
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="Reconciliation",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("created_at", models.DateTimeField(auto_now_add=True)),
                        ("updated_at", models.DateTimeField(auto_now=True)),
                        ("provider", models.CharField(max_length=64)),
                        (
                            "form",
                            models.CharField(
                                choices=[
                                    ("generic", "Generic"),
                                    ("openai_usage", "OpenAI usage export"),
                                    ("openai_cost", "OpenAI cost export"),
                                    ("anthropic_usage", "Anthropic usage export"),
                                    ("anthropic_cost", "Anthropic cost export"),
                                    ("openrouter", "OpenRouter activity"),
                                ],
                                max_length=24,
                            ),
                        ),
                        ("file_name", models.CharField(max_length=200)),
                        ("first_day", models.DateField()),
                        ("last_day", models.DateField()),
                        ("tolerance_percent", models.DecimalField(decimal_places=3, max_digits=6)),
                        ("currency", models.CharField(default="USD", max_length=3)),
                        ("compared", models.PositiveIntegerField()),
                        ("differences", models.PositiveIntegerField()),
                        ("bill_cost_micros", models.BigIntegerField(null=True)),
                        ("own_cost_micros", models.BigIntegerField()),
                    ],
                    options={
                        "db_table": "billing_reconciliation",
                        "indexes": [
                            models.Index(fields=["provider", "-first_day"], name="billing_reconciliation_days")
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="ReconciliationLine",
                    fields=[
                        ("id", models.BigAutoField(primary_key=True, serialize=False)),
                        ("day", models.DateField()),
                        ("model", models.CharField(max_length=200)),
                        ("request_id", models.CharField(blank=True, max_length=200)),
                        (
                            "verdict",
                            models.CharField(
                                choices=[
                                    ("agrees", "Agrees"),
                                    ("differs", "Differs"),
                                    ("not_recorded", "On the bill, not recorded"),
                                    ("not_billed", "Recorded, not on the bill"),
                                ],
                                max_length=16,
                            ),
                        ),
                        ("bill_prompt_tokens", models.BigIntegerField(null=True)),
                        ("own_prompt_tokens", models.BigIntegerField()),
                        ("bill_completion_tokens", models.BigIntegerField(null=True)),
                        ("own_completion_tokens", models.BigIntegerField()),
                        ("bill_cost_micros", models.BigIntegerField(null=True)),
                        ("own_cost_micros", models.BigIntegerField()),
                        (
                            "reconciliation",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="lines",
                                to="billing.reconciliation",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "billing_reconciliationline",
                    },
                ),
                migrations.CreateModel(
                    name="Repricing",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("created_at", models.DateTimeField(auto_now_add=True)),
                        ("updated_at", models.DateTimeField(auto_now=True)),
                        ("since", models.DateTimeField()),
                        ("until", models.DateTimeField()),
                        ("provider", models.CharField(blank=True, max_length=64)),
                        ("model", models.CharField(blank=True, max_length=200)),
                        ("finished_at", models.DateTimeField(blank=True, null=True)),
                        ("records", models.BigIntegerField(default=0)),
                        ("adjusted", models.BigIntegerField(default=0)),
                        ("amount_micros", models.BigIntegerField(default=0)),
                    ],
                    options={
                        "db_table": "billing_repricing",
                        "constraints": [
                            models.CheckConstraint(
                                condition=models.Q(("since__lt", models.F("until"))),
                                name="billing_repricing_ends_after_it_begins",
                                violation_error_message="The period ends after it begins.",
                            )
                        ],
                    },
                ),
                migrations.RunSQL(
                    create_partitioned_sql(table="billing_adjustment", column="created_at")
                    + append_only_sql(table="billing_adjustment"),
                    migrations.RunSQL.noop,
                ),
            ]
        ),
    ]
