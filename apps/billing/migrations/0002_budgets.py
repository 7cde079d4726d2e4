import django.db.models.deletion
from django.db import migrations, models

import apps.core.ids


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Budget",
            fields=[
                (
                    "id",
                    models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("version", models.PositiveIntegerField(default=1, editable=False)),
                ("organization_id", models.UUIDField()),
                ("name", models.CharField(max_length=120)),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("organization", "Organization"),
                            ("team", "Team"),
                            ("user", "User"),
                            ("key", "API key"),
                            ("end_user", "End user"),
                            ("tag", "Tag"),
                            ("model", "Model"),
                        ],
                        max_length=16,
                    ),
                ),
                ("subject", models.CharField(blank=True, help_text="Empty: each one separately.", max_length=256)),
                (
                    "model",
                    models.CharField(blank=True, help_text="Only calls of this model; empty: of all.", max_length=200),
                ),
                (
                    "window",
                    models.CharField(
                        choices=[
                            ("day", "Day"),
                            ("week", "Week"),
                            ("month", "Month"),
                            ("total", "Total, never renewed"),
                        ],
                        max_length=8,
                    ),
                ),
                ("soft_micros", models.PositiveBigIntegerField(blank=True, null=True, verbose_name="soft limit")),
                ("hard_micros", models.PositiveBigIntegerField(blank=True, null=True, verbose_name="hard limit")),
                (
                    "boost_micros",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Added to both limits until the moment below.",
                        verbose_name="temporary increase",
                    ),
                ),
                ("boost_until", models.DateTimeField(blank=True, null=True, verbose_name="increase ends")),
                ("currency", models.CharField(default="USD", max_length=3)),
                ("is_active", models.BooleanField(default=True)),
            ],
            options={
                "db_table": "billing_budget",
                "indexes": [models.Index(fields=["organization_id"], name="billing_budget_organization")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("soft_micros__isnull", False), ("hard_micros__isnull", False), _connector="OR"
                        ),
                        name="billing_budget_has_a_limit",
                        violation_error_message="A budget has a soft or a hard limit, or both.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("soft_micros__isnull", True),
                            ("hard_micros__isnull", True),
                            ("soft_micros__lte", models.F("hard_micros")),
                            _connector="OR",
                        ),
                        name="billing_budget_soft_below_hard",
                        violation_error_message="The soft limit is not above the hard one.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("boost_micros", 0), ("boost_until__isnull", False), _connector="OR"),
                        name="billing_budget_boost_ends",
                        violation_error_message="A temporary increase has an end.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("scope", "organization"), _negated=True), ("subject", ""), _connector="OR"
                        ),
                        name="billing_budget_organization_has_no_subject",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("scope", "model"), _negated=True),
                            models.Q(("subject", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="billing_budget_model_has_a_subject",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="BudgetHolder",
            fields=[
                (
                    "id",
                    models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("turn", models.BigIntegerField(default=0)),
                ("expires_at", models.DateTimeField()),
                ("condemned_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "billing_budget_holder",
                "indexes": [models.Index(fields=["expires_at"], name="billing_budget_holder_expires")],
            },
        ),
        migrations.CreateModel(
            name="BudgetPeriod",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("subject", models.CharField(blank=True, max_length=256)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                ("spent_micros", models.BigIntegerField(db_default=0, default=0)),
                ("seeded_micros", models.BigIntegerField(db_default=0, default=0)),
                ("leased_micros", models.BigIntegerField(db_default=0, default=0)),
                ("recalled_at", models.DateTimeField(null=True)),
                ("evaluated_micros", models.BigIntegerField(db_default=0, default=0)),
                ("mark_micros", models.BigIntegerField(db_default=0, default=0)),
                ("marked_at", models.DateTimeField(null=True)),
                (
                    "budget",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="periods", to="billing.budget"
                    ),
                ),
            ],
            options={
                "db_table": "billing_budget_period",
            },
        ),
        migrations.CreateModel(
            name="BudgetLease",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("amount_micros", models.BigIntegerField()),
                ("net_micros", models.BigIntegerField()),
                (
                    "holder",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="leases", to="billing.budgetholder"
                    ),
                ),
                (
                    "period",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="leases", to="billing.budgetperiod"
                    ),
                ),
            ],
            options={
                "db_table": "billing_budget_lease",
            },
        ),
        migrations.CreateModel(
            name="BudgetAlert",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("hard", "Part of the hard limit"),
                            ("soft", "Part of the soft limit"),
                            ("forecast", "Will pass the limit before the window ends"),
                        ],
                        max_length=8,
                    ),
                ),
                ("percent", models.PositiveSmallIntegerField()),
                (
                    "period",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="alerts", to="billing.budgetperiod"
                    ),
                ),
            ],
            options={
                "db_table": "billing_budget_alert",
            },
        ),
        migrations.AddIndex(
            model_name="budgetperiod",
            index=models.Index(fields=["ends_at"], name="billing_budget_period_ends"),
        ),
        migrations.AddConstraint(
            model_name="budgetperiod",
            constraint=models.UniqueConstraint(
                fields=("budget", "subject", "starts_at"), name="billing_budget_period_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetperiod",
            constraint=models.CheckConstraint(
                condition=models.Q(("leased_micros__gte", 0), ("spent_micros__gte", 0)),
                name="billing_budget_period_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetlease",
            constraint=models.UniqueConstraint(fields=("period", "holder"), name="billing_budget_lease_once"),
        ),
        migrations.AddConstraint(
            model_name="budgetlease",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_micros__gte", 0)), name="billing_budget_lease_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="budgetalert",
            constraint=models.UniqueConstraint(fields=("period", "kind", "percent"), name="billing_budget_alert_once"),
        ),
    ]
