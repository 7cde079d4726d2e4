import django.core.validators
import django.db.models.deletion
import pgvector.django.halfvec
import pgvector.django.indexes
from django.db import migrations, models

import apps.core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0004_guardrails"),
        ("users", "0002_teams"),
    ]

    operations = [
        migrations.RunSQL(
            sql="CREATE EXTENSION IF NOT EXISTS vector",
            reverse_sql="",
        ),
        migrations.CreateModel(
            name="CachePolicy",
            fields=[
                (
                    "id",
                    models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="cache_policies",
                        to="users.organization",
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="cache_policies",
                        to="users.team",
                    ),
                ),
                (
                    "api_key",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="cache_policies",
                        to="users.apikey",
                        verbose_name="API key",
                    ),
                ),
                (
                    "is_exact",
                    models.BooleanField(
                        default=True, help_text="Answer repeated requests from the cache.", verbose_name="exact"
                    ),
                ),
                (
                    "is_semantic",
                    models.BooleanField(
                        default=False,
                        help_text="Answer questions that mean the same, though in other words.",
                        verbose_name="semantic",
                    ),
                ),
                (
                    "ttl_seconds",
                    models.PositiveIntegerField(
                        default=3600,
                        help_text="Seconds for which an answer is given again.",
                        validators=[
                            django.core.validators.MinValueValidator(10),
                            django.core.validators.MaxValueValidator(2592000),
                        ],
                        verbose_name="time to live",
                    ),
                ),
                (
                    "scope",
                    models.CharField(
                        choices=[
                            ("organization", "Everyone under the policy"),
                            ("user", "Each person their own"),
                            ("api_key", "Each key its own"),
                        ],
                        default="organization",
                        help_text="Who gets whose answers, among those whom the policy applies to.",
                        max_length=16,
                    ),
                ),
                (
                    "similarity",
                    models.FloatField(
                        default=0.95,
                        help_text="Cosine similarity from which two questions mean the same: 0.95 is careful, 0.85 is bold.",
                        validators=[
                            django.core.validators.MinValueValidator(0.5),
                            django.core.validators.MaxValueValidator(1.0),
                        ],
                    ),
                ),
                (
                    "embedding_model",
                    models.CharField(
                        blank=True,
                        help_text="Model that turns questions into vectors; each costs an embeddings call.",
                        max_length=160,
                    ),
                ),
                (
                    "max_temperature",
                    models.FloatField(
                        blank=True,
                        help_text="Requests with a higher temperature want variety and are not cached; empty: no bound.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(0.0),
                            django.core.validators.MaxValueValidator(2.0),
                        ],
                    ),
                ),
                (
                    "hit_price_percent",
                    models.PositiveSmallIntegerField(
                        default=0,
                        help_text="Percent of what the answer would have cost.",
                        validators=[django.core.validators.MaxValueValidator(100)],
                        verbose_name="price of a hit",
                    ),
                ),
                ("generation", models.PositiveIntegerField(default=1, editable=False)),
            ],
            options={
                "verbose_name_plural": "cache policies",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("api_key", None), ("team", None)),
                        fields=("organization",),
                        name="gateway_cachepolicy_organization_once",
                        violation_error_message="The organization has a cache policy.",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("team__isnull", False)),
                        fields=("team",),
                        name="gateway_cachepolicy_team_once",
                        violation_error_message="The team has a cache policy.",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("api_key__isnull", False)),
                        fields=("api_key",),
                        name="gateway_cachepolicy_key_once",
                        violation_error_message="The key has a cache policy.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("team", None), ("api_key", None), _connector="OR"),
                        name="gateway_cachepolicy_one_subject",
                        violation_error_message="Name a team or a key, not both.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("hit_price_percent__lte", 100)), name="gateway_cachepolicy_hit_price_share"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("similarity__gte", 0.5), ("similarity__lte", 1.0)),
                        name="gateway_cachepolicy_similarity_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("is_semantic", False), models.Q(("embedding_model", ""), _negated=True), _connector="OR"
                        ),
                        name="gateway_cachepolicy_semantic_needs_model",
                        violation_error_message="Name the embedding model that compares questions.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CacheDay",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "policy",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="days",
                        to="gateway.cachepolicy",
                    ),
                ),
                ("day", models.DateField()),
                ("hits", models.PositiveBigIntegerField(default=0)),
                ("semantic_hits", models.PositiveBigIntegerField(default=0)),
                ("misses", models.PositiveBigIntegerField(default=0)),
                ("saved_micros", models.PositiveBigIntegerField(default=0)),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("policy", "day"), name="gateway_cacheday_once")],
            },
        ),
        migrations.CreateModel(
            name="CachedAnswer",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "policy",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="answers",
                        to="gateway.cachepolicy",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="users.organization"
                    ),
                ),
                ("user_id", models.UUIDField(db_index=True, help_text="Who asked.", null=True)),
                (
                    "context",
                    models.BinaryField(
                        help_text="Hash of everything about the request but its question.", max_length=32
                    ),
                ),
                ("embedding", pgvector.django.halfvec.HalfVectorField(dimensions=3072)),
                ("answer", models.TextField()),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "indexes": [
                    models.Index(fields=["context", "expires_at"], name="gateway_cached_context"),
                    models.Index(fields=["policy"], name="gateway_cached_policy"),
                    pgvector.django.indexes.HnswIndex(
                        ef_construction=64,
                        fields=["embedding"],
                        m=16,
                        name="gateway_cached_meaning",
                        opclasses=["halfvec_cosine_ops"],
                    ),
                ],
            },
        ),
    ]
