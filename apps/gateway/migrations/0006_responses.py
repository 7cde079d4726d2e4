import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import apps.core.ids
from apps.core.partitions import create_partitioned_sql

ACTIVE = ["queued", "in_progress"]
STATUSES = [
    ("queued", "Queued"),
    ("in_progress", "Being written"),
    ("completed", "Complete"),
    ("incomplete", "Cut short"),
    ("failed", "Failed"),
    ("cancelled", "Cancelled"),
]


def _id():
    return models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False)


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("users", "0001_initial"),
        ("gateway", "0005_cache"),
    ]

    operations = [
        migrations.CreateModel(
            name="RespondingProcess",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("host", models.CharField(max_length=255)),
                ("pid", models.PositiveIntegerField()),
                ("lease_until", models.DateTimeField()),
                ("suspected_at", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={"verbose_name_plural": "responding processes"},
        ),
        migrations.CreateModel(
            name="ResponseEvents",
            fields=[
                ("id", _id()),
                ("created_at", models.DateTimeField()),
                ("response_id", models.UUIDField()),
                ("first", models.PositiveIntegerField()),
                ("last", models.PositiveIntegerField()),
                ("events", models.TextField()),
            ],
            options={
                "db_table": "gateway_response_event",
                "verbose_name_plural": "response events",
                "indexes": [models.Index(fields=["response_id", "first"], name="gateway_response_event_place")],
            },
        ),
        migrations.RunSQL(
            create_partitioned_sql(table="gateway_response_event", column="created_at"),
            reverse_sql=migrations.RunSQL.noop,
        ),
        migrations.CreateModel(
            name="StoredResponse",
            fields=[
                ("id", _id()),
                ("created_at", models.DateTimeField(editable=False)),
                ("oauth_client_id", models.CharField(blank=True, max_length=255)),
                ("model", models.CharField(max_length=200)),
                ("status", models.CharField(choices=STATUSES, max_length=16)),
                ("is_background", models.BooleanField(default=False)),
                ("is_stream", models.BooleanField(default=False)),
                ("previous_id", models.UUIDField(null=True)),
                ("holder_id", models.UUIDField(null=True)),
                ("cancel_requested_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("last_sequence", models.IntegerField(default=-1)),
                ("input", models.TextField()),
                ("document", models.TextField()),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="users.organization"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "gateway_response",
                "indexes": [
                    models.Index(fields=["created_at"], name="gateway_response_created"),
                    models.Index(
                        condition=models.Q(("status__in", ACTIVE)), fields=["holder_id"], name="gateway_response_active"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("status__in", [status for status, _ in STATUSES])),
                        name="gateway_response_status",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("user__isnull", False), models.Q(("oauth_client_id", ""), _negated=True), _connector="OR"
                        ),
                        name="gateway_response_has_owner",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("finished_at__isnull", True), ("holder_id__isnull", False), ("status__in", ACTIVE)
                            ),
                            models.Q(models.Q(("status__in", ACTIVE), _negated=True), ("finished_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="gateway_response_ends_once",
                    ),
                ],
            },
        ),
    ]
