import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import apps.core.ids
from apps.core.partitions import append_only_sql, create_partitioned_sql


class Migration(migrations.Migration):
    dependencies = [("gateway", "0001_initial"), ("users", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="deployment",
            name="cool_down_failures",
            field=models.PositiveSmallIntegerField(
                db_default=5,
                default=5,
                help_text="Failures in a row after which no calls are sent here for a while.",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000),
                ],
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="cool_down_seconds",
            field=models.FloatField(
                db_default=10.0,
                default=10.0,
                help_text="The first such while; it doubles, up to 5 minutes, as long as trials fail.",
                validators=[
                    django.core.validators.MinValueValidator(0.1),
                    django.core.validators.MaxValueValidator(3600.0),
                ],
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="max_attempts",
            field=models.PositiveSmallIntegerField(
                db_default=2,
                default=2,
                help_text="How often one call may be sent here when no other deployment can take it.",
                validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(5)],
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="max_parallel",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Calls at the same time, over all processes; empty for no limit.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(10000),
                ],
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="probe_completion",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Health probes also ask for an answer of one token, which the provider may charge for.",
            ),
        ),
        migrations.AddField(
            model_name="model",
            name="content_fallbacks",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    max_length=160,
                    validators=[
                        django.core.validators.RegexValidator(
                            "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only."
                        )
                    ],
                ),
                blank=True,
                db_default=[],
                default=list,
                help_text="When the provider refuses the content by its policy. Models or aliases, separated by commas, in the order in which they are asked.",
                size=10,
            ),
        ),
        migrations.AddField(
            model_name="model",
            name="context_fallbacks",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    max_length=160,
                    validators=[
                        django.core.validators.RegexValidator(
                            "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only."
                        )
                    ],
                ),
                blank=True,
                db_default=[],
                default=list,
                help_text="When the prompt is too long for this model. Models or aliases, separated by commas, in the order in which they are asked.",
                size=10,
            ),
        ),
        migrations.AddField(
            model_name="model",
            name="fallbacks",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    max_length=160,
                    validators=[
                        django.core.validators.RegexValidator(
                            "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only."
                        )
                    ],
                ),
                blank=True,
                db_default=[],
                default=list,
                help_text="When no deployment answers. Models or aliases, separated by commas, in the order in which they are asked.",
                size=10,
            ),
        ),
        migrations.AddField(
            model_name="model",
            name="strategy",
            field=models.CharField(
                choices=[("weighted", "By weight"), ("latency", "Quickest first"), ("cost", "Cheapest first")],
                db_default="weighted",
                default="weighted",
                help_text="Among deployments of the same priority.",
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="HealthCheck",
            fields=[
                (
                    "id",
                    models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("checked_at", models.DateTimeField()),
                ("provider_id", models.UUIDField()),
                ("deployment_id", models.UUIDField(null=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[("models", "List of models"), ("completion", "One token of an answer")], max_length=16
                    ),
                ),
                ("is_up", models.BooleanField()),
                ("latency_ms", models.PositiveIntegerField(null=True)),
                ("error_code", models.CharField(blank=True, max_length=96)),
            ],
            options={
                "db_table": "gateway_health_check",
                "indexes": [
                    models.Index(fields=["provider_id", "checked_at"], name="gateway_health_check_provider"),
                    models.Index(fields=["checked_at"], name="gateway_health_check_time"),
                ],
            },
        ),
        migrations.CreateModel(
            name="HealthState",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "status",
                    models.CharField(
                        choices=[("up", "Up"), ("down", "Down"), ("unknown", "Not probed yet")],
                        default="unknown",
                        max_length=16,
                    ),
                ),
                ("since", models.DateTimeField(help_text="When the status began.")),
                ("checked_at", models.DateTimeField()),
                ("latency_ms", models.PositiveIntegerField(null=True)),
                ("failures", models.PositiveIntegerField(default=0, help_text="Failed probes in a row.")),
                ("error", models.CharField(blank=True, max_length=300)),
                (
                    "deployment",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="health",
                        to="gateway.deployment",
                    ),
                ),
                (
                    "provider",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="health", to="gateway.provider"
                    ),
                ),
            ],
            options={
                "db_table": "gateway_health_state",
            },
        ),
        migrations.CreateModel(
            name="RoutingRule",
            fields=[
                (
                    "id",
                    models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("name", models.CharField(max_length=120)),
                ("position", models.PositiveIntegerField(default=100, help_text="Lower ones are asked first.")),
                (
                    "condition",
                    models.TextField(
                        help_text="An expression in CEL, such as: model == 'gpt-4o' && prompt_tokens > 50000"
                    ),
                ),
                (
                    "time_zone",
                    models.CharField(
                        default="UTC",
                        help_text="Of `hour`, `minute` and `weekday`; a name such as Europe/Berlin.",
                        max_length=64,
                    ),
                ),
                (
                    "action",
                    models.CharField(choices=[("send", "Send"), ("refuse", "Refuse")], default="send", max_length=16),
                ),
                (
                    "target",
                    models.CharField(
                        blank=True,
                        help_text="Model or alias that the calls go to; empty keeps the one that was asked for.",
                        max_length=160,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only."
                            )
                        ],
                    ),
                ),
                (
                    "fallbacks",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            max_length=160,
                            validators=[
                                django.core.validators.RegexValidator(
                                    "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only."
                                )
                            ],
                        ),
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text="When no deployment answers. Models or aliases, separated by commas, in the order in which they are asked.",
                        size=10,
                    ),
                ),
                (
                    "context_fallbacks",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            max_length=160,
                            validators=[
                                django.core.validators.RegexValidator(
                                    "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only."
                                )
                            ],
                        ),
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text="When the prompt is too long for the model. Models or aliases, separated by commas, in the order in which they are asked.",
                        size=10,
                    ),
                ),
                (
                    "content_fallbacks",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            max_length=160,
                            validators=[
                                django.core.validators.RegexValidator(
                                    "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only."
                                )
                            ],
                        ),
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text="When the provider refuses the content by its policy. Models or aliases, separated by commas, in the order in which they are asked.",
                        size=10,
                    ),
                ),
                (
                    "message",
                    models.CharField(blank=True, help_text="What callers read when the rule refuses.", max_length=500),
                ),
                (
                    "overrides_keys",
                    models.BooleanField(
                        default=False,
                        help_text="Follow the rule even for keys whose own list of models leaves its target out. Leave this off where callers choose what the rule looks at: tags, metadata, end user.",
                        verbose_name="also for keys without the target",
                    ),
                ),
                ("is_active", models.BooleanField(default=True)),
                (
                    "deployments",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Only these, by priority; empty for all that serve the model.",
                        related_name="+",
                        to="gateway.deployment",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: for calls of everybody.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="users.organization",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Alias",
            fields=[
                (
                    "id",
                    models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "name",
                    models.CharField(
                        max_length=160,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only."
                            )
                        ],
                    ),
                ),
                (
                    "fallbacks",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            max_length=160,
                            validators=[
                                django.core.validators.RegexValidator(
                                    "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only."
                                )
                            ],
                        ),
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text="When no deployment answers. Models or aliases, separated by commas, in the order in which they are asked.",
                        size=10,
                    ),
                ),
                (
                    "context_fallbacks",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            max_length=160,
                            validators=[
                                django.core.validators.RegexValidator(
                                    "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only."
                                )
                            ],
                        ),
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text="When the prompt is too long for the model. Models or aliases, separated by commas, in the order in which they are asked.",
                        size=10,
                    ),
                ),
                (
                    "content_fallbacks",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            max_length=160,
                            validators=[
                                django.core.validators.RegexValidator(
                                    "^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$", "Use letters, digits and . _ : / @ + - only."
                                )
                            ],
                        ),
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text="When the provider refuses the content by its policy. Models or aliases, separated by commas, in the order in which they are asked.",
                        size=10,
                    ),
                ),
                ("is_active", models.BooleanField(default=True)),
                (
                    "model",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="aliases", to="gateway.model"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: for everybody.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="users.organization",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "aliases",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "name"),
                        name="gateway_alias_once",
                        nulls_distinct=False,
                        violation_error_message="There is such an alias already.",
                    )
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="healthstate",
            constraint=models.UniqueConstraint(
                fields=("provider", "deployment"), name="gateway_health_state_once", nulls_distinct=False
            ),
        ),
        migrations.AddIndex(
            model_name="routingrule",
            index=models.Index(fields=["position", "id"], name="gateway_rule_order"),
        ),
        migrations.AddConstraint(
            model_name="routingrule",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("action", "refuse"), _negated=True), ("target", ""), _connector="OR"),
                name="gateway_rule_refusal_has_no_target",
                violation_error_message="A rule that refuses has no target.",
            ),
        ),
        migrations.RunSQL(
            create_partitioned_sql(table="gateway_health_check", column="checked_at")
            + append_only_sql(table="gateway_health_check"),
            migrations.RunSQL.noop,
        ),
    ]
