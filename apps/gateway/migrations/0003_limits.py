import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

import apps.core.ids


class Migration(migrations.Migration):
    dependencies = [("gateway", "0002_routing"), ("users", "0002_teams")]

    operations = [
        migrations.CreateModel(
            name="Limit",
            fields=[
                (
                    "id",
                    models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("organization", "Organization"),
                            ("team", "Team"),
                            ("user", "User"),
                            ("key", "Key"),
                            ("end_user", "End user"),
                            ("tag", "Tag"),
                            ("model", "Model"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "subject",
                    models.CharField(
                        blank=True,
                        help_text="The id (key_…, user_…, team_…, org_…), or the name of the end user, tag or model. "
                        "Empty: each one of the scope by itself.",
                        max_length=200,
                    ),
                ),
                (
                    "model",
                    models.CharField(
                        blank=True,
                        help_text="Empty: calls of every model.",
                        max_length=160,
                        verbose_name="only for model",
                    ),
                ),
                ("requests_per_minute", models.PositiveIntegerField(blank=True, null=True)),
                ("tokens_per_minute", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "parallel_calls",
                    models.PositiveIntegerField(blank=True, null=True, verbose_name="calls at a time"),
                ),
                (
                    "algorithm",
                    models.CharField(
                        choices=[("sliding_window", "Sliding window"), ("token_bucket", "Token bucket")],
                        default="sliding_window",
                        help_text="A sliding window never lets more than the limit through in any minute; a token bucket "
                        "refills steadily and lets a burst through at once.",
                        max_length=16,
                    ),
                ),
                (
                    "burst_requests",
                    models.PositiveIntegerField(
                        blank=True, help_text="Of a token bucket; empty: the requests of a minute.", null=True
                    ),
                ),
                (
                    "burst_tokens",
                    models.PositiveIntegerField(
                        blank=True, help_text="Of a token bucket; empty: the tokens of a minute.", null=True
                    ),
                ),
                ("is_active", models.BooleanField(default=True)),
                ("description", models.CharField(blank=True, max_length=300)),
                (
                    "organization",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: on the whole platform.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="users.organization",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "scope", "subject", "model"),
                        name="gateway_limit_once",
                        nulls_distinct=False,
                        violation_error_message="There is a limit for this already; change that one.",
                    ),
                    models.CheckConstraint(
                        condition=~Q(
                            requests_per_minute__isnull=True,
                            tokens_per_minute__isnull=True,
                            parallel_calls__isnull=True,
                        ),
                        name="gateway_limit_limits_something",
                        violation_error_message="Limit requests, tokens or calls at a time.",
                    ),
                    models.CheckConstraint(
                        condition=(Q(requests_per_minute__isnull=True) | Q(requests_per_minute__gte=1))
                        & (Q(tokens_per_minute__isnull=True) | Q(tokens_per_minute__gte=1))
                        & (Q(parallel_calls__isnull=True) | Q(parallel_calls__gte=1))
                        & (Q(burst_requests__isnull=True) | Q(burst_requests__gte=1))
                        & (Q(burst_tokens__isnull=True) | Q(burst_tokens__gte=1)),
                        name="gateway_limit_from_one",
                        violation_error_message="A limit is at least 1; to let nothing through, revoke the key.",
                    ),
                ],
            },
        ),
    ]
