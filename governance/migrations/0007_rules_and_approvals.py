"""Selectors, scopes, drafts, grants, approvals, reactions and the ways to tell people."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import governance.models.base


class Migration(migrations.Migration):
    dependencies = [
        ("governance", "0006_protocol"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApprovalDecision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("human_id", models.UUIDField()),
                ("person_id", models.UUIDField()),
                ("person", models.CharField(max_length=254)),
                ("verdict", models.CharField(choices=[("approve", "Approve"), ("deny", "Deny")], max_length=7)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("ticket", models.CharField(blank=True, max_length=100)),
                ("channel", models.CharField(max_length=8)),
                ("authentication", models.JSONField(default=dict)),
                ("digest", models.BinaryField(max_length=32)),
                ("at", models.DateTimeField()),
            ],
            options={
                "ordering": ("at",),
            },
        ),
        migrations.CreateModel(
            name="ApprovalRequest",
            fields=[
                ("number", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[("call", "A call"), ("access", "Access for a time")], default="call", max_length=6
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Waiting"),
                            ("approved", "Approved"),
                            ("consumed", "Done"),
                            ("denied", "Denied"),
                            ("expired", "Expired"),
                            ("cancelled", "Withdrawn"),
                            ("void", "Void"),
                        ],
                        default="pending",
                        max_length=9,
                    ),
                ),
                ("revision", models.PositiveIntegerField(default=0)),
                ("agent_id", models.UUIDField(null=True)),
                ("agent", models.CharField(blank=True, max_length=63)),
                ("owner_id", models.UUIDField(null=True)),
                ("owner", models.CharField(blank=True, max_length=254)),
                ("person_id", models.UUIDField(null=True)),
                ("person", models.CharField(blank=True, max_length=254)),
                ("asked_by_id", models.UUIDField(null=True)),
                ("credential_id", models.UUIDField(null=True)),
                ("connector_id", models.UUIDField(null=True)),
                ("connector", models.CharField(blank=True, max_length=63)),
                ("tool_id", models.CharField(blank=True, max_length=2200)),
                ("tool", models.CharField(blank=True, max_length=2200)),
                ("method", models.CharField(default="tools/call", max_length=32)),
                ("definition_digest", models.CharField(blank=True, max_length=64)),
                ("secret_version", models.CharField(blank=True, max_length=40)),
                ("bundle_id", models.UUIDField(null=True)),
                ("bundle", models.CharField(blank=True, max_length=63)),
                ("bundle_version", models.PositiveIntegerField(default=0)),
                ("session", models.CharField(blank=True, max_length=200)),
                ("source_ip", models.CharField(blank=True, max_length=64)),
                ("client", models.CharField(blank=True, max_length=130)),
                ("asked_digest", models.BinaryField(max_length=32)),
                ("call_digest", models.BinaryField(max_length=32)),
                ("asked_arguments", models.BinaryField(default=bytes)),
                ("arguments", models.BinaryField(default=bytes)),
                ("wanted", models.JSONField(default=dict)),
                ("terms", models.JSONField(default=list)),
                ("labels", models.JSONField(default=list)),
                ("stated_reason", models.TextField(blank=True)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("ticket", models.CharField(blank=True, max_length=100)),
                ("created_at", models.DateTimeField(db_index=True)),
                ("expires_at", models.DateTimeField()),
                ("use_before", models.DateTimeField(null=True)),
                ("escalated_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("ended_because", models.CharField(blank=True, max_length=300)),
                ("call_id", models.UUIDField(db_index=True, null=True)),
                ("grant_id", models.UUIDField(null=True)),
            ],
            options={
                "ordering": ("-number",),
            },
        ),
        migrations.CreateModel(
            name="ChatIdentity",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("workspace", models.CharField(max_length=64)),
                ("account", models.CharField(max_length=64)),
            ],
            options={
                "verbose_name_plural": "chat identities",
                "ordering": ("channel", "account"),
            },
        ),
        migrations.CreateModel(
            name="Grant",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("consent", "Approval of a pattern"),
                            ("elevation", "Access for a time"),
                            ("break_glass", "Break-glass"),
                        ],
                        max_length=11,
                    ),
                ),
                (
                    "condition",
                    models.TextField(blank=True, help_text="A CEL expression over the call; empty means always."),
                ),
                (
                    "rules",
                    models.JSONField(
                        blank=True, default=list, help_text="Of a consent: the asking rules that it answers."
                    ),
                ),
                (
                    "definition_digest",
                    models.CharField(
                        blank=True,
                        help_text="Of a consent: of the tool it was given for; it ends with it.",
                        max_length=64,
                    ),
                ),
                ("session", models.CharField(blank=True, help_text="Of a consent: only for this run.", max_length=200)),
                (
                    "approvers",
                    models.JSONField(blank=True, default=list, help_text="Ids of those who agreed; it ends with them."),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("request_number", models.BigIntegerField(blank=True, null=True)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("max_uses", models.PositiveIntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(max_length=300)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_by", models.CharField(blank=True, max_length=300)),
                ("reviewed_at", models.DateTimeField(blank=True, null=True)),
                ("reviewed_by", models.CharField(blank=True, max_length=300)),
                ("review_note", models.CharField(blank=True, max_length=500)),
            ],
            options={
                "ordering": ("-created_at",),
            },
        ),
        migrations.CreateModel(
            name="NotificationChannel",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", governance.models.base.NameField()),
                ("title", models.CharField(blank=True, max_length=200)),
                ("kind", models.CharField(choices=[("slack", "Slack"), ("webhook", "Signed webhook")], max_length=8)),
                (
                    "url",
                    models.URLField(
                        blank=True, help_text="Of a webhook; of Slack only if not slack.com.", max_length=500
                    ),
                ),
                (
                    "target",
                    models.CharField(
                        blank=True, help_text="Of Slack, e.g. C0123456789.", max_length=100, verbose_name="channel"
                    ),
                ),
                (
                    "allows_decisions",
                    models.BooleanField(
                        default=False,
                        help_text="Otherwise its buttons only open the page.",
                        verbose_name="decisions in the chat",
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="OnCallShift",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "on-call shift",
                "ordering": ("team", "starts_at"),
            },
        ),
        migrations.CreateModel(
            name="Reaction",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", governance.models.base.NameField()),
                ("title", models.CharField(blank=True, max_length=200)),
                (
                    "trigger",
                    models.CharField(
                        choices=[
                            ("denials", "So many denials of an agent"),
                            ("finding", "A finding in a run"),
                            ("drift", "A tool's definition changes"),
                        ],
                        max_length=8,
                    ),
                ),
                ("count", models.PositiveIntegerField(default=1)),
                ("minutes", models.PositiveIntegerField(default=10, help_text="In which the count is reached.")),
                ("findings", models.JSONField(blank=True, default=list)),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("freeze_agent", "Freeze the agent"),
                            ("hold_run", "Hold the rest of the run for a human"),
                            ("quarantine_tool", "Quarantine the tool"),
                        ],
                        max_length=15,
                    ),
                ),
                (
                    "lasting_minutes",
                    models.PositiveIntegerField(default=60, help_text="How long a freeze or hold lasts."),
                ),
                ("approvers", models.JSONField(blank=True, default=dict, help_text="Who may let a held run go on.")),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.AddField(
            model_name="agentcredential",
            name="person",
            field=models.ForeignKey(
                blank=True,
                help_text="The key gives only what both the agent and this person may.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="credentials_for",
                to=settings.AUTH_USER_MODEL,
                verbose_name="on behalf of",
            ),
        ),
        migrations.AddField(
            model_name="bundleversion",
            name="authors",
            field=models.JSONField(blank=True, db_default=[], default=list),
        ),
        migrations.AddField(
            model_name="bundleversion",
            name="based_on",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="bundleversion",
            name="published_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="bundleversion",
            name="review_note",
            field=models.CharField(blank=True, db_default="", max_length=500),
        ),
        migrations.AddField(
            model_name="bundleversion",
            name="reviewed_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="bundleversion",
            name="reviewed_by",
            field=models.CharField(blank=True, db_default="", max_length=300),
        ),
        migrations.AddField(
            model_name="bundleversion",
            name="staged_agents",
            field=models.ManyToManyField(blank=True, related_name="staged_versions", to="governance.agent"),
        ),
        migrations.AddField(
            model_name="bundleversion",
            name="revision",
            field=models.PositiveIntegerField(db_default=0, default=0, help_text="Counts the edits of the draft."),
        ),
        migrations.AddField(
            model_name="bundleversion",
            name="submitted_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="bundleversion",
            name="submitted_by",
            field=models.CharField(blank=True, db_default="", max_length=300),
        ),
        migrations.AddField(
            model_name="bundleversion",
            name="summary",
            field=models.CharField(blank=True, db_default="", help_text="What changes, and why.", max_length=500),
        ),
        migrations.AddField(
            model_name="connector",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                help_text="The human who answers for this system and may be asked to approve calls.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="owned_connectors",
                to=settings.AUTH_USER_MODEL,
                verbose_name="resource owner",
            ),
        ),
        migrations.AddField(
            model_name="connector",
            name="stage",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="E.g. production; rules read tool.environment",
                max_length=32,
                verbose_name="environment",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="agents_may_ask",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Offers agents tools of the gateway's own to ask for a bundle or tool, and to see their requests.",
                verbose_name="agents may ask for access",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="business_hours",
            field=models.JSONField(blank=True, db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="organization",
            name="holidays",
            field=models.JSONField(blank=True, db_default=[], default=list),
        ),
        migrations.AddField(
            model_name="organization",
            name="networks",
            field=models.JSONField(blank=True, db_default={}, default=dict),
        ),
        migrations.AddField(
            model_name="organization",
            name="requires_review",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Bundles and policies are published only after somebody else than their author has agreed.",
                verbose_name="changes of rules need a second person",
            ),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="authors",
            field=models.JSONField(blank=True, db_default=[], default=list),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="based_on",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="published_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="review_note",
            field=models.CharField(blank=True, db_default="", max_length=500),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="reviewed_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="reviewed_by",
            field=models.CharField(blank=True, db_default="", max_length=300),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="revision",
            field=models.PositiveIntegerField(db_default=0, default=0, help_text="Counts the edits of the draft."),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="submitted_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="submitted_by",
            field=models.CharField(blank=True, db_default="", max_length=300),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="summary",
            field=models.CharField(blank=True, db_default="", help_text="What changes, and why.", max_length=500),
        ),
        migrations.AddField(
            model_name="policyversion",
            name="tests",
            field=models.JSONField(blank=True, db_default=[], default=list),
        ),
        migrations.AddField(
            model_name="role",
            name="scopes",
            field=models.JSONField(blank=True, db_default=[], default=list, verbose_name="data scopes"),
        ),
        migrations.AddField(
            model_name="rule",
            name="access",
            field=models.CharField(
                blank=True,
                choices=[("", "Reading and writing"), ("read", "Reading"), ("write", "Writing")],
                db_default="",
                default="",
                max_length=5,
            ),
        ),
        migrations.AddField(
            model_name="rule",
            name="connectors",
            field=models.JSONField(blank=True, db_default=[], default=list, help_text="Globs; empty means any."),
        ),
        migrations.AddField(
            model_name="rule",
            name="data_classes",
            field=models.JSONField(blank=True, db_default=[], default=list, help_text="Any of these; empty means any."),
        ),
        migrations.AddField(
            model_name="rule",
            name="fields",
            field=models.JSONField(
                blank=True,
                db_default=[],
                default=list,
                help_text="What to mask in a result: globs over paths, e.g. *.iban.",
            ),
        ),
        migrations.AddField(
            model_name="rule",
            name="risks",
            field=models.JSONField(blank=True, db_default=[], default=list, help_text="Any of these; empty means any."),
        ),
        migrations.AddField(
            model_name="team",
            name="attributes",
            field=models.JSONField(
                blank=True,
                db_default={},
                default=dict,
                help_text="Lists that conditions read as person.attributes, e.g. {&quot;repos&quot;: [&quot;web&quot;]}.",
            ),
        ),
        migrations.AddField(
            model_name="tool",
            name="is_egress",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Mail, posts, uploads: leaves the organisation.",
                verbose_name="sends data out",
            ),
        ),
        migrations.AddField(
            model_name="tool",
            name="is_untrusted",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Text of strangers, e.g. tickets or mail: labels the run in which an agent reads it.",
                verbose_name="returns untrusted content",
            ),
        ),
        migrations.AddField(
            model_name="tool",
            name="undo",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text='What approvers read, e.g. "Refunds cannot be taken back."',
                max_length=300,
                verbose_name="how to undo",
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="same_as",
            field=models.ForeignKey(
                blank=True,
                help_text="The main account of the same human: two accounts of one human never approve as two.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="other_accounts",
                to=settings.AUTH_USER_MODEL,
                verbose_name="same human as",
            ),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="bundleversion",
                    name="state",
                    field=models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("review", "In review"),
                            ("staged", "Published to some agents"),
                            ("published", "Published"),
                            ("superseded", "Superseded"),
                            ("discarded", "Discarded"),
                        ],
                        default="published",
                        max_length=12,
                    ),
                ),
            ]
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="policyversion",
                    name="state",
                    field=models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("review", "In review"),
                            ("staged", "Published to some agents"),
                            ("published", "Published"),
                            ("superseded", "Superseded"),
                            ("discarded", "Discarded"),
                        ],
                        default="published",
                        max_length=12,
                    ),
                ),
            ]
        ),
        migrations.AddConstraint(
            model_name="bundleversion",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ("draft", "review", "staged"))),
                fields=("bundle",),
                name="one_open_version_per_bundle",
            ),
        ),
        migrations.AddConstraint(
            model_name="policyversion",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ("draft", "review", "staged"))),
                fields=("policy",),
                name="one_open_version_per_policy",
            ),
        ),
        migrations.AddIndex(
            model_name="approvalrequest",
            index=models.Index(fields=["state", "expires_at"], name="approval_request_open"),
        ),
        migrations.AddIndex(
            model_name="approvalrequest",
            index=models.Index(fields=["agent_id", "-created_at"], name="approval_request_of_agent"),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ("pending", "approved"))),
                fields=("asked_digest",),
                name="one_live_approval_request_per_call",
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ("pending", "approved", "consumed", "denied", "expired", "cancelled", "void"))
                ),
                name="approval_request_state_known",
            ),
        ),
        migrations.AddField(
            model_name="approvaldecision",
            name="request",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="decisions", to="governance.approvalrequest"
            ),
        ),
        migrations.AddField(
            model_name="chatidentity",
            name="person",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="chat_identities", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.CreateModel(
            name="GrantUse",
            fields=[
                (
                    "grant",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="use",
                        serialize=False,
                        to="governance.grant",
                    ),
                ),
                ("used", models.PositiveIntegerField(default=0)),
                ("max_uses", models.PositiveIntegerField()),
            ],
        ),
        migrations.AddField(
            model_name="grant",
            name="agent",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="grants",
                to="governance.agent",
            ),
        ),
        migrations.AddField(
            model_name="grant",
            name="bundle",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="grants",
                to="governance.bundle",
            ),
        ),
        migrations.AddField(
            model_name="grant",
            name="person",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="grants",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="grant",
            name="tool",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="grants",
                to="governance.tool",
            ),
        ),
        migrations.AddField(
            model_name="notificationchannel",
            name="secret",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="channels",
                to="governance.secret",
            ),
        ),
        migrations.AddField(
            model_name="notificationchannel",
            name="signing_secret",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="signs_for_channels",
                to="governance.secret",
            ),
        ),
        migrations.AddField(
            model_name="notificationchannel",
            name="teams",
            field=models.ManyToManyField(blank=True, related_name="channels", to="governance.team"),
        ),
        migrations.AddField(
            model_name="chatidentity",
            name="channel",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="identities",
                to="governance.notificationchannel",
            ),
        ),
        migrations.AddField(
            model_name="oncallshift",
            name="person",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="shifts", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="oncallshift",
            name="team",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="shifts", to="governance.team"
            ),
        ),
        migrations.AddConstraint(
            model_name="reaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("action", "freeze_agent"), ("trigger", "denials")),
                    models.Q(("action__in", ("freeze_agent", "hold_run")), ("trigger", "finding")),
                    models.Q(("action", "quarantine_tool"), ("trigger", "drift")),
                    _connector="OR",
                ),
                name="reaction_fits_its_trigger",
            ),
        ),
        migrations.AddConstraint(
            model_name="reaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("count__gte", 1), ("lasting_minutes__gte", 1), ("minutes__gte", 1), ("minutes__lte", 1440)
                ),
                name="reaction_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="approvaldecision",
            constraint=models.UniqueConstraint(
                fields=("request", "human_id", "digest"), name="one_approval_decision_per_human"
            ),
        ),
        migrations.AddConstraint(
            model_name="approvaldecision",
            constraint=models.CheckConstraint(
                condition=models.Q(("verdict__in", ("approve", "deny"))), name="approval_verdict_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="grantuse",
            constraint=models.CheckConstraint(
                condition=models.Q(("used__lte", models.F("max_uses"))), name="grant_not_overused"
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("agent", None), ("person__isnull", False)),
                    models.Q(("agent__isnull", False), ("person", None)),
                    _connector="OR",
                ),
                name="grant_has_one_subject",
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="grant_ends_after_start"
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind", "consent"), ("tool", None), _negated=True), name="consent_names_its_tool"
            ),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind", "consent"), models.Q(("bundle", None), _negated=True), _connector="OR"),
                name="access_names_its_bundle",
            ),
        ),
        migrations.AddConstraint(
            model_name="chatidentity",
            constraint=models.UniqueConstraint(
                fields=("channel", "workspace", "account"), name="chat_account_is_one_person"
            ),
        ),
        migrations.AddConstraint(
            model_name="oncallshift",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="shift_ends_after_start"
            ),
        ),
    ]
