"""Directories: people and groups as identity providers keep them here, and what groups give."""

import uuid

import django.db.models.deletion
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

import governance.models.base


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0007_rules_and_approvals"),
    ]

    operations = [
        migrations.CreateModel(
            name="Directory",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", governance.models.base.NameField()),
                ("title", models.CharField(blank=True, max_length=200)),
                (
                    "is_enabled",
                    models.BooleanField(
                        default=True, help_text="Off refuses its every message.", verbose_name="enabled"
                    ),
                ),
                (
                    "networks",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Where its messages may come from, as 203.0.113.0/24; empty means anywhere.",
                    ),
                ),
                (
                    "brake_number",
                    models.PositiveIntegerField(
                        default=10,
                        help_text="So many people may lose something within ten minutes, whatever their share.",
                        verbose_name="brake, people",
                    ),
                ),
                (
                    "brake_share",
                    models.PositiveSmallIntegerField(
                        default=10,
                        help_text="Beyond this share of its people, the rest waits for you.",
                        verbose_name="brake, percent",
                    ),
                ),
                (
                    "ends_without_groups",
                    models.BooleanField(
                        default=False,
                        help_text="Who is in none of the mapped groups any more is offboarded.",
                        verbose_name="losing the last group ends a person",
                    ),
                ),
                (
                    "agents_to_manager",
                    models.BooleanField(
                        default=True,
                        help_text="Agents of who leaves pass to her manager; otherwise they are suspended.",
                        verbose_name="agents go to the manager",
                    ),
                ),
                (
                    "serves_agents",
                    models.BooleanField(
                        default=False,
                        help_text="Experimental: serves /Agents, a draft of the SCIM working group.",
                        verbose_name="agents by SCIM",
                    ),
                ),
                (
                    "pull_url",
                    models.URLField(
                        blank=True,
                        help_text="Where the identity provider itself serves SCIM: what it lists is compared with what it sent.",
                        max_length=500,
                        verbose_name="SCIM address to compare with",
                    ),
                ),
                (
                    "pull_changes",
                    models.BooleanField(
                        default=False,
                        help_text="Otherwise differences are only shown.",
                        verbose_name="comparing also corrects",
                    ),
                ),
                ("pulled_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("pull_mark", models.DateTimeField(blank=True, editable=False, null=True)),
                ("pull_problem", models.CharField(blank=True, editable=False, max_length=500)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(blank=True, max_length=300)),
                ("last_seen_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "pull_secret",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="directories",
                        to="governance.secret",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "directories",
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="DirectoryGroup",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("external_id", models.CharField(blank=True, max_length=300)),
                ("display_name", models.CharField(blank=True, max_length=300)),
                ("body", models.JSONField(default=dict)),
                ("version", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField()),
                ("changed_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                ("display_name_key", models.CharField(max_length=400)),
                (
                    "directory",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="groups", to="governance.directory"
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="DirectoryMessage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("request_id", models.CharField(max_length=64)),
                ("source_ip", models.CharField(blank=True, max_length=64)),
                ("token_hint", models.CharField(blank=True, max_length=24)),
                ("method", models.CharField(max_length=10)),
                ("path", models.CharField(max_length=1000)),
                ("status", models.PositiveSmallIntegerField()),
                ("body", models.JSONField(blank=True, null=True)),
                ("changes", models.JSONField(blank=True, default=list)),
                ("problem", models.CharField(blank=True, max_length=500)),
                (
                    "directory",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="messages", to="governance.directory"
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="DirectoryToken",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("hint", models.CharField(max_length=24)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(max_length=300)),
                ("last_used_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_by", models.CharField(blank=True, max_length=300)),
                (
                    "directory",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="tokens", to="governance.directory"
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at",),
            },
        ),
        migrations.CreateModel(
            name="DirectoryUser",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("external_id", models.CharField(blank=True, max_length=300)),
                ("display_name", models.CharField(blank=True, max_length=300)),
                ("body", models.JSONField(default=dict)),
                ("version", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField()),
                ("changed_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                ("user_name", models.CharField(max_length=300)),
                ("user_name_key", models.CharField(max_length=400)),
                ("email", models.CharField(blank=True, max_length=254)),
                ("active", models.BooleanField(default=True)),
                ("manager_ref", models.CharField(blank=True, max_length=100)),
                ("problem", models.CharField(blank=True, max_length=300)),
                ("missed", models.PositiveSmallIntegerField(default=0)),
                (
                    "directory",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="users", to="governance.directory"
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="directory_users",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="DirectoryMember",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("value", models.CharField(max_length=100)),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="members",
                        to="governance.directorygroup",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to="governance.directoryuser",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="DirectoryLoss",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("leaves", "Leaves: everything of hers ends"),
                            ("group", "Out of a group, with what it gives"),
                        ],
                        max_length=6,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("done", "Done"),
                            ("held", "Waits for somebody to agree"),
                            ("released", "Agreed to and done"),
                            ("dropped", "Not done"),
                        ],
                        max_length=8,
                    ),
                ),
                ("at", models.DateTimeField()),
                ("why", models.CharField(blank=True, max_length=300)),
                ("decided_by", models.CharField(blank=True, max_length=300)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                (
                    "directory",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="losses", to="governance.directory"
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="losses",
                        to="governance.directorygroup",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="losses",
                        to="governance.directoryuser",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "directory losses",
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="DirectoryEmail",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(db_index=True, max_length=300)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="emails",
                        to="governance.directoryuser",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="GroupMapping",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("group_name", models.CharField(max_length=300, verbose_name="group")),
                (
                    "duties",
                    models.JSONField(blank=True, default=list, help_text="In force once a second human has agreed."),
                ),
                (
                    "admin_access",
                    models.BooleanField(
                        default=False,
                        help_text="In force once a second human has agreed.",
                        verbose_name="may enter the admin",
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
                ("approved_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "approved_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "directory",
                    models.ForeignKey(
                        blank=True,
                        help_text="None means the groups named at single sign-on.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="mappings",
                        to="governance.directory",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="mappings",
                        to="governance.directorygroup",
                    ),
                ),
                (
                    "proposed_by",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("teams", models.ManyToManyField(blank=True, related_name="group_mappings", to="governance.team")),
            ],
            options={
                "ordering": ("directory", "group_name"),
            },
        ),
        migrations.AddConstraint(
            model_name="directory",
            constraint=models.CheckConstraint(
                condition=models.Q(("brake_share__lte", 100)), name="directory_brake_share_is_percent"
            ),
        ),
        migrations.AddIndex(
            model_name="directorygroup",
            index=models.Index(fields=["directory", "external_id"], name="directory_group_external_id"),
        ),
        migrations.AddConstraint(
            model_name="directorygroup",
            constraint=models.UniqueConstraint(
                condition=models.Q(("deleted_at", None)),
                fields=("directory", "display_name_key"),
                name="directory_group_name_unique",
            ),
        ),
        migrations.AddIndex(
            model_name="directorymessage",
            index=models.Index(fields=["directory", "-id"], name="directory_message_newest"),
        ),
        migrations.AddIndex(
            model_name="directorymessage",
            index=models.Index(fields=["at"], name="directory_message_at"),
        ),
        migrations.AddConstraint(
            model_name="directorytoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("revoked_at", None), ("revoked_by", "")),
                    models.Q(
                        models.Q(("revoked_at", None), _negated=True), models.Q(("revoked_by", ""), _negated=True)
                    ),
                    _connector="OR",
                ),
                name="directory_token_revocation_names_who",
            ),
        ),
        migrations.AddIndex(
            model_name="directoryuser",
            index=models.Index(fields=["directory", "external_id"], name="directory_user_external_id"),
        ),
        migrations.AddIndex(
            model_name="directoryuser",
            index=models.Index(fields=["directory", "manager_ref"], name="directory_user_manager"),
        ),
        migrations.AddConstraint(
            model_name="directoryuser",
            constraint=models.UniqueConstraint(
                condition=models.Q(("deleted_at", None)),
                fields=("directory", "user_name_key"),
                name="directory_user_name_unique",
            ),
        ),
        migrations.AddConstraint(
            model_name="directoryuser",
            constraint=models.UniqueConstraint(
                condition=models.Q(("deleted_at", None)), fields=("person",), name="one_directory_per_person"
            ),
        ),
        migrations.AddConstraint(
            model_name="directorymember",
            constraint=models.UniqueConstraint(fields=("group", "value"), name="directory_member_once"),
        ),
        migrations.AddIndex(
            model_name="directoryloss",
            index=models.Index(fields=["directory", "at"], name="directory_loss_at"),
        ),
        migrations.AddIndex(
            model_name="directoryloss",
            index=models.Index(condition=models.Q(("state", "held")), fields=["directory"], name="directory_loss_held"),
        ),
        migrations.AddConstraint(
            model_name="groupmapping",
            constraint=models.UniqueConstraint(
                models.F("directory"),
                django.db.models.functions.text.Lower("group_name"),
                name="group_mapping_once_per_directory",
            ),
        ),
        migrations.AddConstraint(
            model_name="groupmapping",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("group_name"),
                condition=models.Q(("directory", None)),
                name="group_mapping_once_at_sign_on",
            ),
        ),
    ]
