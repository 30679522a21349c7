"""Offboardings that can be undone, whose receipts have editions, and what is left to do after them."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0011_connected_accounts"),
    ]

    operations = [
        migrations.CreateModel(
            name="OffboardingStep",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=40)),
                ("name", models.CharField(max_length=300)),
                ("subject_id", models.CharField(max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("done", "Done"),
                            ("manual", "Left to a human"),
                            ("void", "Not needed any more"),
                        ],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("todo", models.CharField(blank=True, max_length=300)),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("next_try_at", models.DateTimeField()),
                ("tries", models.PositiveIntegerField(default=0)),
                ("error", models.CharField(blank=True, max_length=300)),
                ("result", models.CharField(blank=True, max_length=300)),
                ("done_at", models.DateTimeField(blank=True, null=True)),
                ("done_by", models.CharField(blank=True, max_length=300)),
            ],
            options={
                "ordering": ("created_at", "kind", "name", "id"),
            },
        ),
        migrations.RemoveConstraint(
            model_name="offboarding",
            name="offboarding_state_known",
        ),
        migrations.AddField(
            model_name="offboarding",
            name="edition",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="offboarding",
            name="former",
            field=models.JSONField(blank=True, db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="offboarding",
            name="issued_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="offboarding",
            name="reason",
            field=models.CharField(blank=True, db_default="", default="", max_length=300),
        ),
        migrations.AddField(
            model_name="offboarding",
            name="signature",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
        migrations.AddField(
            model_name="offboarding",
            name="undo_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="offboarding",
            name="undone_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="offboarding",
            name="undone_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=300),
        ),
        migrations.AlterField(
            model_name="offboarding",
            name="state",
            field=models.CharField(
                choices=[
                    ("scheduled", "Scheduled"),
                    ("enforcing", "Done here, waiting for every gateway"),
                    ("enforced", "Enforced everywhere"),
                    ("incomplete", "Withdrawn, but not confirmed everywhere"),
                    ("failed", "Could not be carried out"),
                    ("cancelled", "Cancelled"),
                    ("undone", "Undone: she works here again"),
                ],
                default="scheduled",
                max_length=12,
            ),
        ),
        migrations.AddConstraint(
            model_name="offboarding",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ("scheduled", "enforcing", "enforced", "incomplete", "failed", "cancelled", "undone"))
                ),
                name="offboarding_state_known",
            ),
        ),
        migrations.AddField(
            model_name="offboardingstep",
            name="offboarding",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="steps", to="governance.offboarding"
            ),
        ),
        migrations.AddField(
            model_name="offboardingstep",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="offboardingstep",
            index=models.Index(
                condition=models.Q(("state", "waiting")), fields=["next_try_at"], name="offboarding_step_waiting"
            ),
        ),
        migrations.AddConstraint(
            model_name="offboardingstep",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ("waiting", "done", "manual", "void"))),
                name="offboarding_step_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="offboardingstep",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("done_at", None), ("state__in", ("waiting", "manual"))),
                    models.Q(("done_at__isnull", False), ("state__in", ("done", "void"))),
                    _connector="OR",
                ),
                name="offboarding_step_done_at_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="offboardingstep",
            constraint=models.UniqueConstraint(
                fields=("offboarding", "kind", "subject_id"), name="offboarding_step_once"
            ),
        ),
    ]
