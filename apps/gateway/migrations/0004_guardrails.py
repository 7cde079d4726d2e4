import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import apps.core.ids
from apps.core.partitions import append_only_sql, create_partitioned_sql

MODES = [("off", "Off"), ("log", "Log"), ("mask", "Mask"), ("block", "Block")]
DIRECTIONS = [("input", "Prompt"), ("output", "Answer")]
DETECTORS = [
    ("pii", "Personal data"),
    ("secrets", "Secrets"),
    ("injection", "Prompt injection"),
    ("moderation", "Moderation"),
    ("topics", "Topics"),
    ("lengths", "Lengths"),
    ("own", "Own patterns and words"),
]


def _id():
    return models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False)


def _mode():
    return models.CharField(choices=MODES, default="off", max_length=8)


def _most():
    return models.PositiveIntegerField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(1)])


def _owner(to, **options):
    return models.ForeignKey(
        blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to=to, **options
    )


class Migration(migrations.Migration):
    dependencies = [("users", "0002_teams"), ("gateway", "0003_limits")]

    operations = [
        migrations.CreateModel(
            name="GuardPolicy",
            fields=[
                ("id", _id()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("name", models.CharField(max_length=120)),
                ("description", models.CharField(blank=True, max_length=500)),
                ("is_active", models.BooleanField(default=True)),
                ("pii_input", _mode()),
                ("pii_output", _mode()),
                (
                    "pii_kinds",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=32),
                        blank=True,
                        default=list,
                        help_text="Empty: all kinds but names.",
                        size=None,
                    ),
                ),
                (
                    "is_reversible",
                    models.BooleanField(
                        default=False,
                        help_text="Placeholders that stand in the answer again are replaced by what they stood for in the prompt.",
                        verbose_name="placeholders are mapped back",
                    ),
                ),
                ("secrets_input", _mode()),
                ("secrets_output", _mode()),
                (
                    "finds_random_text",
                    models.BooleanField(
                        default=False,
                        help_text="Long tokens of high entropy count as secrets, too. Finds keys of unknown vendors, and some hashes.",
                        verbose_name="also texts that look random",
                    ),
                ),
                ("injection_input", _mode()),
                ("injection_output", _mode()),
                (
                    "injection_threshold",
                    models.FloatField(
                        default=0.5,
                        help_text="Score from 0.05 to 1.",
                        validators=[
                            django.core.validators.MinValueValidator(0.05),
                            django.core.validators.MaxValueValidator(1.0),
                        ],
                    ),
                ),
                ("moderation_input", _mode()),
                ("moderation_output", _mode()),
                ("moderation_thresholds", models.JSONField(blank=True, default=dict)),
                (
                    "moderation_model",
                    models.CharField(
                        blank=True,
                        help_text="A provider's moderation model for prompts and whole answers, such as omni-moderation-latest. Empty: the built-in one.",
                        max_length=160,
                    ),
                ),
                ("topics_input", _mode()),
                ("topics_output", _mode()),
                (
                    "topics_allow",
                    models.TextField(
                        blank=True,
                        help_text="Has to hold, in CEL, over text, words, characters, direction, model, tags.",
                        verbose_name="allowed topics",
                    ),
                ),
                (
                    "topics_deny",
                    models.TextField(blank=True, help_text="Must not hold, in CEL.", verbose_name="denied topics"),
                ),
                ("lengths_input", _mode()),
                ("lengths_output", _mode()),
                ("max_prompt_characters", _most()),
                ("max_answer_characters", _most()),
                ("own_input", _mode()),
                ("own_output", _mode()),
                ("own_patterns", models.JSONField(blank=True, default=dict)),
                (
                    "own_words",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=120), blank=True, default=list, size=None
                    ),
                ),
                ("organization", _owner("users.organization", help_text="Empty: the platform's own.")),
            ],
            options={
                "verbose_name": "guardrail policy",
                "verbose_name_plural": "guardrail policies",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organization", "name"),
                        name="gateway_guardpolicy_name_unique",
                        nulls_distinct=False,
                        violation_error_message="There is a policy of this name already.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("injection_threshold__gte", 0.05), ("injection_threshold__lte", 1.0)),
                        name="gateway_guardpolicy_threshold",
                    ),
                    *(
                        models.CheckConstraint(
                            condition=models.Q((f"{detector}_{direction}__in", [mode for mode, _ in MODES])),
                            name=f"gateway_guardpolicy_{detector}_{direction}",
                        )
                        for detector, _ in DETECTORS
                        for direction, _ in DIRECTIONS
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="GuardBinding",
            fields=[
                ("id", _id()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "policy",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="bindings", to="gateway.guardpolicy"
                    ),
                ),
                ("organization", _owner("users.organization")),
                ("team", _owner("users.team")),
                ("api_key", _owner("users.apikey")),
            ],
            options={
                "verbose_name": "guardrail binding",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("policy", "organization", "team", "api_key"),
                        name="gateway_guardbinding_once",
                        nulls_distinct=False,
                        violation_error_message="The policy applies there already.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("organization__isnull", True), ("team__isnull", True)),
                            models.Q(("api_key__isnull", True), ("organization__isnull", True)),
                            models.Q(("api_key__isnull", True), ("team__isnull", True)),
                            _connector="OR",
                        ),
                        name="gateway_guardbinding_one_subject",
                        violation_error_message="Name an organization, a team or a key, and one of them only.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="GuardHit",
            fields=[
                ("id", _id()),
                ("created_at", models.DateTimeField()),
                ("request_id", models.UUIDField()),
                ("policy_id", models.UUIDField()),
                ("organization_id", models.UUIDField(null=True)),
                ("team_id", models.UUIDField(null=True)),
                ("user_id", models.UUIDField(null=True)),
                ("api_key_id", models.UUIDField(null=True)),
                ("model", models.CharField(max_length=160)),
                ("detector", models.CharField(choices=DETECTORS, max_length=16)),
                ("kind", models.CharField(max_length=48)),
                ("mode", models.CharField(choices=MODES, max_length=8)),
                ("direction", models.CharField(choices=DIRECTIONS, max_length=8)),
                ("count", models.PositiveIntegerField()),
            ],
            options={
                "db_table": "gateway_guard_hit",
                "verbose_name": "guardrail hit",
                "indexes": [
                    models.Index(fields=["-created_at"], name="gateway_guard_hit_created"),
                    models.Index(fields=["organization_id", "-created_at"], name="gateway_guard_hit_org"),
                    models.Index(fields=["policy_id", "-created_at"], name="gateway_guard_hit_policy"),
                ],
            },
        ),
        migrations.RunSQL(
            create_partitioned_sql(table="gateway_guard_hit", column="created_at"), reverse_sql=migrations.RunSQL.noop
        ),
        migrations.RunSQL(
            append_only_sql(table="gateway_guard_hit"),
            reverse_sql="DROP FUNCTION IF EXISTS gateway_guard_hit_refuse_change() CASCADE",
        ),
    ]
