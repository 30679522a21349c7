"""The whole protocol: resources and prompts in bundles, local servers, questions of upstreams, rate limits."""

import uuid
from typing import Any

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import governance.models.base
import governance.models.policies


class AlterOwnDefault(migrations.AlterField):
    """Another default that Django fills in itself: the column and its rows stay as they are."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        return

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        return


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0005_tool_classified_at"),
    ]

    operations = [
        migrations.AddField(
            model_name="connector",
            name="command",
            field=models.JSONField(
                blank=True, db_default=[], default=list, help_text="Of a local server: the program and its arguments."
            ),
        ),
        migrations.AddField(
            model_name="connector",
            name="environment",
            field=models.JSONField(
                blank=True, db_default={}, default=dict, help_text="Variables of a local server; no secrets here."
            ),
        ),
        migrations.AddField(
            model_name="connector",
            name="max_running",
            field=models.PositiveIntegerField(
                db_default=64,
                default=64,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="calls at once",
            ),
        ),
        migrations.AddField(
            model_name="connector",
            name="max_waiting",
            field=models.PositiveIntegerField(db_default=256, default=256, verbose_name="calls that may wait"),
        ),
        migrations.AddField(
            model_name="connector",
            name="memory_mb",
            field=models.PositiveIntegerField(
                db_default=512, default=512, verbose_name="memory of a local server (MB)"
            ),
        ),
        migrations.AddField(
            model_name="connector",
            name="per_agent",
            field=models.BooleanField(db_default=False, default=False, verbose_name="one local server for each agent"),
        ),
        migrations.AddField(
            model_name="connector",
            name="relays",
            field=models.JSONField(
                blank=True,
                db_default=[],
                default=list,
                help_text="What this system may ask of the agent's side while it works: elicitation, sampling, roots.",
            ),
        ),
        migrations.AddField(
            model_name="connector",
            name="secret_variable",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="The variable that gets the secret's value, of a local server.",
                max_length=100,
            ),
        ),
        migrations.AddField(
            model_name="tool",
            name="timeout_seconds",
            field=models.FloatField(
                blank=True,
                help_text="Instead of the connector's.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0.1),
                    django.core.validators.MaxValueValidator(3600),
                ],
            ),
        ),
        AlterOwnDefault(
            model_name="connector",
            name="timeout_seconds",
            field=models.FloatField(
                default=60,
                validators=[
                    django.core.validators.MinValueValidator(0.1),
                    django.core.validators.MaxValueValidator(600),
                ],
            ),
        ),
        migrations.CreateModel(
            name="RateLimit",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", governance.models.base.NameField()),
                (
                    "per",
                    models.CharField(
                        choices=[
                            ("agent", "Each agent"),
                            ("team", "Each team of the owner"),
                            ("tool", "Each tool"),
                            ("everybody", "All together"),
                        ],
                        default="agent",
                        max_length=10,
                    ),
                ),
                ("tools", models.JSONField(default=governance.models.policies.match_all)),
                (
                    "window_seconds",
                    models.PositiveIntegerField(
                        default=60,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(86400),
                        ],
                    ),
                ),
                (
                    "max_requests",
                    models.PositiveIntegerField(
                        blank=True, null=True, validators=[django.core.validators.MinValueValidator(1)]
                    ),
                ),
                (
                    "max_bytes",
                    models.PositiveBigIntegerField(
                        blank=True, null=True, validators=[django.core.validators.MinValueValidator(1)]
                    ),
                ),
                (
                    "max_running",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="calls at once",
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
            ],
            options={
                "ordering": ("name",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("max_bytes", None), ("max_requests", None), ("max_running", None), _negated=True
                        ),
                        name="rate_limit_limits",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BundleSelection",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[("resource", "Resources"), ("prompt", "Prompts")], max_length=8, verbose_name="of what"
                    ),
                ),
                ("allow", models.JSONField(default=governance.models.policies.match_all)),
                ("deny", models.JSONField(blank=True, default=list)),
                (
                    "connector",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="bundle_selections",
                        to="governance.connector",
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="selections",
                        to="governance.bundleversion",
                    ),
                ),
            ],
            options={
                "ordering": ("version", "kind", "connector__name"),
                "constraints": [
                    models.UniqueConstraint(fields=("version", "connector", "kind"), name="bundle_selects_kind_once")
                ],
            },
        ),
    ]
