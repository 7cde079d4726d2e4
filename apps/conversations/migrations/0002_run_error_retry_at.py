from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="error_retry_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
