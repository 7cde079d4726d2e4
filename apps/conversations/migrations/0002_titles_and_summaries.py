import django.db.models.deletion
from django.db import migrations, models

import apps.core.ids


class Migration(migrations.Migration):
    dependencies = [("conversations", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="conversation",
            name="title_origin",
            field=models.CharField(
                blank=True,
                choices=[
                    ("words", "First words"),
                    ("asked", "First words, a model was asked"),
                    ("kept", "First words, no model had a better one"),
                    ("model", "A model"),
                    ("person", "A person"),
                ],
                db_default="",
                default="",
                editable=False,
                max_length=16,
            ),
        ),
        migrations.CreateModel(
            name="ConversationSummary",
            fields=[
                (
                    "id",
                    models.UUIDField(default=apps.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("message_count", models.PositiveIntegerField()),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("text", models.TextField()),
                (
                    "method",
                    models.CharField(
                        choices=[("model", "A model"), ("fallback", "Rules, without a model")], max_length=16
                    ),
                ),
                ("model", models.CharField(blank=True, max_length=160)),
                ("cost_micros", models.PositiveBigIntegerField(default=0)),
                ("made_at", models.DateTimeField()),
                (
                    "conversation",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="summary",
                        to="conversations.conversation",
                    ),
                ),
                (
                    "last_message",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="conversations.message"
                    ),
                ),
            ],
            options={
                "verbose_name": "summary",
                "verbose_name_plural": "summaries",
                "db_table": "conversations_summary",
            },
        ),
    ]
