"""Clients and tokens of the authorization server, credentials of all kinds, directories, trusted issuers, connected accounts, staff
identities, and offboardings that go on after their first moment."""

import uuid

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import governance.models.base
import governance.models.issuers
from governance.migration_steps import AllowNone, InWordsOnly, RemoveNarrower


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("governance", "0007_rules_and_approvals"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccessToken",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("issued_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(db_index=True)),
                ("resource", models.CharField(max_length=300)),
                ("oauth_scopes", models.JSONField(default=list)),
            ],
        ),
        migrations.CreateModel(
            name="Authorization",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "basis",
                    models.CharField(
                        choices=[
                            ("consent", "A person agreed"),
                            ("device", "A person agreed for a device"),
                            ("assertion", "An identity provider vouched"),
                            ("workload", "A workload proved itself"),
                        ],
                        default="consent",
                        max_length=16,
                    ),
                ),
                ("resource", models.CharField(max_length=300)),
                ("oauth_scopes", models.JSONField(default=list, verbose_name="OAuth scopes")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(max_length=300)),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_by", models.CharField(blank=True, max_length=300)),
            ],
            options={
                "ordering": ("-created_at",),
            },
        ),
        migrations.CreateModel(
            name="AuthorizationCode",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("issued_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(db_index=True)),
                ("redirect_uri", models.CharField(max_length=2000)),
                ("code_challenge", models.CharField(max_length=128)),
                ("used_at", models.DateTimeField(null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="CredentialUse",
            fields=[
                (
                    "credential",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="use",
                        serialize=False,
                        to="governance.agentcredential",
                    ),
                ),
                ("first_used_at", models.DateTimeField()),
                ("last_used_at", models.DateTimeField(db_index=True)),
                (
                    "last_used_from",
                    models.CharField(
                        blank=True, help_text="The address, as far as proxies are trusted.", max_length=45
                    ),
                ),
                (
                    "last_client",
                    models.CharField(blank=True, help_text="What the client called itself.", max_length=200),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DeviceCode",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("issued_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(db_index=True)),
                ("user_code_digest", models.BinaryField(max_length=32, unique=True)),
                ("resource", models.CharField(max_length=300)),
                ("oauth_scopes", models.JSONField(default=list)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("approved", "Approved"),
                            ("denied", "Denied"),
                            ("used", "Used"),
                        ],
                        default="pending",
                        max_length=16,
                    ),
                ),
                ("polled_at", models.DateTimeField(null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
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
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(blank=True, max_length=300)),
                ("last_seen_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                "verbose_name_plural": "directories",
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="DirectoryEmail",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(db_index=True, max_length=300)),
            ],
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
            ],
            options={
                "verbose_name_plural": "directory losses",
                "ordering": ("id",),
            },
        ),
        migrations.CreateModel(
            name="DirectoryMember",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("value", models.CharField(max_length=100)),
                ("display", models.CharField(blank=True, db_default="", max_length=300)),
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
            ],
            options={
                "ordering": ("id",),
            },
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
            ],
            options={
                "ordering": ("directory", "group_name"),
            },
        ),
        migrations.CreateModel(
            name="OAuthClient",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("client_id", models.CharField(max_length=255, unique=True, verbose_name="client ID")),
                (
                    "name",
                    models.CharField(help_text="What people read when they are asked to let it in.", max_length=100),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("pending", "Waits for approval"), ("approved", "Approved"), ("disabled", "Disabled")],
                        default="pending",
                        max_length=16,
                    ),
                ),
                (
                    "origin",
                    models.CharField(
                        choices=[
                            ("admin", "Added by an administrator"),
                            ("cimd", "Its own metadata document"),
                            ("dcr", "Registered itself"),
                        ],
                        default="admin",
                        editable=False,
                        max_length=8,
                    ),
                ),
                ("redirect_uris", models.JSONField(blank=True, default=list, verbose_name="redirect URIs")),
                ("grant_types", models.JSONField(blank=True, default=list)),
                ("secret_digest", models.BinaryField(blank=True, max_length=32, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(max_length=300)),
            ],
            options={
                "verbose_name": "OAuth client",
                "ordering": ("name", "client_id"),
            },
        ),
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
        migrations.CreateModel(
            name="RefreshToken",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("issued_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(db_index=True)),
                ("used_at", models.DateTimeField(null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="RotationTask",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "subject_kind",
                    models.CharField(
                        choices=[
                            ("agent", "Agent without a credential"),
                            ("credential", "Agent credential"),
                            ("secret", "Secret of a connector"),
                            ("scim_token", "SCIM token"),
                            ("other", "Something else"),
                        ],
                        max_length=16,
                    ),
                ),
                ("subject_id", models.UUIDField()),
                ("subject_name", models.CharField(max_length=300)),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("age", "Due by age"),
                            ("unused", "Unused"),
                            ("offboarding", "Somebody who knew it has left"),
                            ("emergency", "Emergency rotation"),
                            ("asked", "Asked for"),
                        ],
                        max_length=16,
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=500)),
                ("about", models.CharField(blank=True, max_length=100)),
                ("created_at", models.DateTimeField()),
                ("asked_by", models.CharField(max_length=300)),
                ("due_at", models.DateTimeField()),
                ("told_at", models.DateTimeField(blank=True, null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("done", "Done"), ("dropped", "Dropped")],
                        default="open",
                        max_length=8,
                    ),
                ),
                ("done_at", models.DateTimeField(blank=True, null=True)),
                ("done_by", models.CharField(blank=True, max_length=300)),
                ("evidence", models.JSONField(blank=True, default=dict)),
            ],
            options={
                "ordering": ("due_at", "created_at"),
            },
        ),
        migrations.CreateModel(
            name="StaffIdentity",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("protocol", models.CharField(choices=[("oidc", "OpenID Connect"), ("saml", "SAML")], max_length=4)),
                ("issuer", models.CharField(max_length=500)),
                ("subject", models.CharField(max_length=255)),
                ("groups", models.JSONField(default=list)),
                ("given_teams", models.JSONField(default=list)),
                ("given_duties", models.JSONField(default=list)),
                ("given_admin_access", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("created_by", models.CharField(max_length=300)),
                ("last_used_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("ended_by", models.CharField(blank=True, max_length=300)),
            ],
            options={
                "verbose_name": "staff identity",
                "verbose_name_plural": "staff identities",
                "ordering": ("issuer", "subject"),
            },
        ),
        migrations.CreateModel(
            name="TokenRevocation",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("token_id", models.UUIDField(unique=True)),
                ("digest", models.BinaryField(max_length=32)),
                ("token_expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField()),
                ("revoked_by", models.CharField(max_length=300)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="TrustedIssuer",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", governance.models.base.NameField()),
                ("title", models.CharField(blank=True, max_length=200)),
                (
                    "kind",
                    models.CharField(
                        choices=[("directory", "Identity provider of people"), ("workload", "Platform of workloads")],
                        max_length=9,
                    ),
                ),
                (
                    "issuer",
                    models.CharField(
                        help_text="Exactly as it stands in its tokens (iss), e.g. https://idp.example.com.",
                        max_length=500,
                        unique=True,
                    ),
                ),
                (
                    "jwks_url",
                    models.CharField(
                        blank=True,
                        help_text="Empty: where its own metadata says.",
                        max_length=500,
                        verbose_name="address of its keys",
                    ),
                ),
                (
                    "jwks",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="A JSON Web Key Set, where it publishes none that Gatehouse can reach.",
                        verbose_name="its keys",
                    ),
                ),
                (
                    "algorithms",
                    models.JSONField(default=governance.models.issuers.all_algorithms, verbose_name="signatures"),
                ),
                (
                    "audiences",
                    models.JSONField(
                        blank=True, default=list, help_text="Accepted as meant for us, besides our own addresses."
                    ),
                ),
                (
                    "longest_seconds",
                    models.PositiveIntegerField(
                        default=3600,
                        validators=[
                            django.core.validators.MinValueValidator(60),
                            django.core.validators.MaxValueValidator(86400),
                        ],
                        verbose_name="longest life of a token (seconds)",
                    ),
                ),
                (
                    "grants_access",
                    models.BooleanField(
                        default=False,
                        help_text="Its identity assertions (ID-JAG) give tokens, within what the person may.",
                        verbose_name="lets people's clients in",
                    ),
                ),
                (
                    "ends_access",
                    models.BooleanField(
                        default=False,
                        help_text="Its logout and security events end sessions, and start offboardings.",
                        verbose_name="ends access",
                    ),
                ),
                (
                    "is_single_use",
                    models.BooleanField(
                        default=True,
                        help_text="Off for Kubernetes, whose pods show the same token until it is renewed.",
                        verbose_name="each token counts once",
                    ),
                ),
                (
                    "poll_url",
                    models.CharField(
                        blank=True,
                        help_text="Where its security events are fetched (RFC 8936), if it does not send them.",
                        max_length=500,
                        verbose_name="address of its events",
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True, verbose_name="enabled")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="UpstreamAuthServer",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("issuer", models.CharField(max_length=500, unique=True)),
                ("metadata", models.JSONField(default=dict)),
                ("fetched_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "authorization server",
                "ordering": ("issuer",),
            },
        ),
        migrations.CreateModel(
            name="UpstreamClient",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("secret", "Client id and secret from the vault"),
                            ("document", "Our published client document"),
                            ("registered", "Registered by ourselves"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "client_id",
                    models.CharField(blank=True, help_text="Unless the vault's secret says it.", max_length=500),
                ),
                ("auth_method", models.CharField(default="none", max_length=24)),
                (
                    "resource",
                    models.CharField(
                        help_text="What tokens are asked for: the upstream's canonical URL.", max_length=500
                    ),
                ),
                ("oauth_scopes", models.JSONField(blank=True, default=list)),
                ("key_id", models.CharField(blank=True, editable=False, max_length=16)),
                ("wrapped_key", models.BinaryField(blank=True, default=bytes)),
                ("ciphertext", models.BinaryField(blank=True, default=bytes)),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(max_length=300)),
            ],
            options={
                "verbose_name": "OAuth client of a connector",
                "ordering": ("server", "created_at"),
            },
        ),
        migrations.CreateModel(
            name="UpstreamGrant",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("resource", models.CharField(max_length=500)),
                ("oauth_scopes", models.JSONField(blank=True, default=list)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("live", "Connected"),
                            ("reconnect", "Must be connected again"),
                            ("ended", "Disconnected"),
                        ],
                        default="live",
                        max_length=10,
                    ),
                ),
                ("problem", models.CharField(blank=True, max_length=300)),
                ("key_id", models.CharField(blank=True, db_index=True, editable=False, max_length=16)),
                ("wrapped_key", models.BinaryField(blank=True, default=bytes)),
                ("ciphertext", models.BinaryField(blank=True, default=bytes)),
                ("generation", models.PositiveIntegerField(default=0)),
                ("expires_at", models.DateTimeField(blank=True, help_text="Of the access token at hand.", null=True)),
                ("renewed_at", models.DateTimeField(blank=True, null=True)),
                ("renewing_until", models.DateTimeField(blank=True, null=True)),
                ("renewing_by", models.UUIDField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(max_length=300)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("ended_by", models.CharField(blank=True, max_length=300)),
                (
                    "revocation",
                    models.CharField(
                        choices=[
                            ("none", "Nothing to revoke"),
                            ("due", "Being revoked at the provider"),
                            ("done", "Revoked at the provider"),
                            ("manual", "A human must revoke it at the provider"),
                            ("settled", "A human has seen to it"),
                        ],
                        default="none",
                        max_length=8,
                    ),
                ),
                ("revocation_attempts", models.PositiveSmallIntegerField(default=0)),
                ("revocation_due_at", models.DateTimeField(blank=True, null=True)),
                ("revocation_note", models.CharField(blank=True, max_length=500)),
            ],
            options={
                "verbose_name": "connected account",
                "ordering": ("-created_at",),
            },
        ),
        migrations.AlterModelOptions(
            name="agentcredential",
            options={"ordering": ("-created_at",), "verbose_name": "agent credential"},
        ),
        RemoveNarrower(
            model_name="offboarding",
            name="offboarding_state_known",
        ),
        migrations.AddField(
            model_name="agent",
            name="takes_owner_roles",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Of a person's own client: what she holds, it may use on her behalf.",
            ),
        ),
        migrations.AddField(
            model_name="agentcredential",
            name="claims",
            field=models.JSONField(
                blank=True, db_default={}, default=dict, help_text="What the issuer must say of it."
            ),
        ),
        migrations.AddField(
            model_name="agentcredential",
            name="issuer",
            field=models.CharField(
                blank=True, db_default="", help_text="Who vouches for the workload.", max_length=500
            ),
        ),
        migrations.AddField(
            model_name="agentcredential",
            name="kind",
            field=models.CharField(
                choices=[
                    ("key", "Agent key"),
                    ("client_secret", "Client secret"),
                    ("public_key", "Public key"),
                    ("workload", "Workload identity"),
                ],
                db_default="key",
                default="key",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="agentcredential",
            name="label",
            field=models.CharField(
                blank=True, db_default="", help_text="Where it is used, for humans.", max_length=100
            ),
        ),
        migrations.AddField(
            model_name="agentcredential",
            name="public_key",
            field=models.JSONField(blank=True, help_text="A JSON Web Key without its private members.", null=True),
        ),
        migrations.AddField(
            model_name="agentcredential",
            name="successor_of",
            field=models.ForeignKey(
                blank=True,
                help_text="What it takes the place of; that one ends by itself when the overlap is over.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="successors",
                to="governance.agentcredential",
            ),
        ),
        migrations.AddField(
            model_name="agentcredential",
            name="thumbprint",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="Of the public key, after RFC 7638: it comes but once.",
                max_length=43,
            ),
        ),
        migrations.AddField(
            model_name="connector",
            name="account",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "The secret below, or none"),
                    ("person", "Each person's own account (OAuth)"),
                    ("shared", "The gateway's own account (OAuth client credentials)"),
                ],
                db_default="",
                default="",
                help_text="Whose account calls use. With OAuth, a secret of kind OAuth client says as which client.",
                max_length=8,
                verbose_name="account",
            ),
        ),
        migrations.AddField(
            model_name="connector",
            name="oauth_scopes",
            field=models.JSONField(
                blank=True,
                db_default=[],
                default=list,
                help_text="To ask its authorization server for; empty asks for those the upstream names.",
                verbose_name="OAuth scopes",
            ),
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
        migrations.AddField(
            model_name="organization",
            name="client_hosts",
            field=models.JSONField(
                blank=True,
                db_default=[],
                default=list,
                help_text="Host names, one a line, e.g. claude.ai. A client from there is read, and waits for approval.",
                verbose_name="hosts of clients that describe themselves",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="clients_may_register",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Anybody who reaches the gateway may then add to the queue. Off, unless a client cannot do without.",
                verbose_name="clients may register themselves",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="ends_overdue",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="A key that nobody replaced ends when it is due. Its owner has been told so.",
                verbose_name="end overdue keys",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="ends_unused",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="A flagged key ends when it stays unused for the days of warning.",
                verbose_name="end unused keys",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="rotate_after_days",
            field=models.PositiveSmallIntegerField(
                blank=True,
                db_default=90,
                default=90,
                help_text="30 to 90. Keys of agents and secrets of connectors that are older are due. Empty: none ever is.",
                null=True,
                validators=[django.core.validators.MinValueValidator(30), django.core.validators.MaxValueValidator(90)],
                verbose_name="credentials are replaced after days",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="rotation_overlap_hours",
            field=models.PositiveSmallIntegerField(
                db_default=168,
                default=168,
                help_text="How long a key still works beside the one that takes its place; 0 ends it at once.",
                validators=[django.core.validators.MaxValueValidator(720)],
                verbose_name="overlap in hours",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="rotation_warn_days",
            field=models.PositiveSmallIntegerField(
                db_default=14,
                default=14,
                help_text="The owner is told that many days before a key is due or expires.",
                validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(29)],
                verbose_name="warn days before",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="unused_after_days",
            field=models.PositiveSmallIntegerField(
                blank=True,
                db_default=60,
                default=60,
                help_text="7 to 365. What was not shown for so long is flagged. Empty: nothing is.",
                null=True,
                validators=[django.core.validators.MinValueValidator(7), django.core.validators.MaxValueValidator(365)],
                verbose_name="a key is unused after days",
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="uses_kept_since",
            field=models.DateTimeField(
                db_default=django.db.models.functions.datetime.Now(),
                default=django.utils.timezone.now,
                editable=False,
                help_text="What was used before is not known, so nothing counts as unused for longer.",
            ),
        ),
        migrations.AddField(
            model_name="user",
            name="break_glass",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="The one local owner for when single sign-on is down: a second factor is required, no directory and no single sign-on reaches it, and every sign-in is told to all owners and security.",
                verbose_name="break-glass account",
            ),
        ),
        AllowNone(
            model_name="agentcredential",
            name="digest",
            field=models.BinaryField(max_length=32, null=True, unique=True),
        ),
        InWordsOnly(
            model_name="agentcredential",
            name="hint",
            field=models.CharField(help_text="First characters, enough to recognise it by.", max_length=24),
        ),
        InWordsOnly(
            model_name="agentcredential",
            name="person",
            field=models.ForeignKey(
                blank=True,
                help_text="It gives only what both the agent and this person may.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="credentials_for",
                to=settings.AUTH_USER_MODEL,
                verbose_name="on behalf of",
            ),
        ),
        InWordsOnly(
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
            model_name="agentcredential",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("digest__isnull", False),
                        ("issuer", ""),
                        ("kind__in", ("key", "client_secret")),
                        ("thumbprint", ""),
                    ),
                    models.Q(
                        ("digest", None),
                        ("issuer", ""),
                        ("kind", "public_key"),
                        ("public_key__isnull", False),
                        models.Q(("thumbprint", ""), _negated=True),
                    ),
                    models.Q(
                        ("digest", None),
                        ("kind", "workload"),
                        ("thumbprint", ""),
                        models.Q(("issuer", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="credential_has_what_its_kind_needs",
            ),
        ),
        migrations.AddConstraint(
            model_name="agentcredential",
            constraint=models.UniqueConstraint(
                condition=models.Q(("thumbprint", ""), _negated=True),
                fields=("thumbprint",),
                name="public_key_registered_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="connector",
            constraint=models.CheckConstraint(
                condition=models.Q(("account__in", ("", "person", "shared"))), name="connector_account_known"
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
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("rotate_after_days", None), ("rotate_after_days__range", (30, 90)), _connector="OR"
                ),
                name="rotation_in_30_to_90_days",
            ),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.CheckConstraint(
                condition=models.Q(("rotation_overlap_hours__lte", 720), ("rotation_warn_days__range", (1, 29))),
                name="rotation_overlap_and_warning_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("unused_after_days", None), ("unused_after_days__range", (7, 365)), _connector="OR"
                ),
                name="unused_after_7_to_365_days",
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(
                condition=models.Q(("break_glass", True)), fields=("break_glass",), name="one_break_glass_account"
            ),
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.CheckConstraint(
                condition=models.Q(("break_glass", False), ("is_superuser", True), _connector="OR"),
                name="break_glass_is_an_owner",
            ),
        ),
        migrations.AddField(
            model_name="accesstoken",
            name="agent",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="access_tokens", to="governance.agent"
            ),
        ),
        migrations.AddField(
            model_name="accesstoken",
            name="credential",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="access_tokens",
                to="governance.agentcredential",
            ),
        ),
        migrations.AddField(
            model_name="accesstoken",
            name="person",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="access_tokens",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="authorization",
            name="agent",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="authorizations", to="governance.agent"
            ),
        ),
        migrations.AddField(
            model_name="authorization",
            name="person",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="authorizations",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="accesstoken",
            name="authorization",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="access_tokens",
                to="governance.authorization",
            ),
        ),
        migrations.AddField(
            model_name="authorizationcode",
            name="authorization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="codes", to="governance.authorization"
            ),
        ),
        migrations.AddField(
            model_name="devicecode",
            name="authorization",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="device_codes",
                to="governance.authorization",
            ),
        ),
        migrations.AddConstraint(
            model_name="directory",
            constraint=models.CheckConstraint(
                condition=models.Q(("brake_share__lte", 100)), name="directory_brake_share_is_percent"
            ),
        ),
        migrations.AddField(
            model_name="directorygroup",
            name="directory",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="groups", to="governance.directory"
            ),
        ),
        migrations.AddField(
            model_name="directoryloss",
            name="directory",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="losses", to="governance.directory"
            ),
        ),
        migrations.AddField(
            model_name="directoryloss",
            name="group",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="losses",
                to="governance.directorygroup",
            ),
        ),
        migrations.AddField(
            model_name="directorymember",
            name="group",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="members", to="governance.directorygroup"
            ),
        ),
        migrations.AddField(
            model_name="directorymessage",
            name="directory",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="messages", to="governance.directory"
            ),
        ),
        migrations.AddField(
            model_name="directorytoken",
            name="directory",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="tokens", to="governance.directory"
            ),
        ),
        migrations.AddField(
            model_name="directoryuser",
            name="directory",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="users", to="governance.directory"
            ),
        ),
        migrations.AddField(
            model_name="directoryuser",
            name="person",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="directory_users",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="directorymember",
            name="user",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="memberships",
                to="governance.directoryuser",
            ),
        ),
        migrations.AddField(
            model_name="directoryloss",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="losses", to="governance.directoryuser"
            ),
        ),
        migrations.AddField(
            model_name="directoryemail",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="emails", to="governance.directoryuser"
            ),
        ),
        migrations.AddField(
            model_name="groupmapping",
            name="approved_by",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="groupmapping",
            name="directory",
            field=models.ForeignKey(
                blank=True,
                help_text="None means the groups named at single sign-on.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="mappings",
                to="governance.directory",
            ),
        ),
        migrations.AddField(
            model_name="groupmapping",
            name="group",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="mappings",
                to="governance.directorygroup",
            ),
        ),
        migrations.AddField(
            model_name="groupmapping",
            name="proposed_by",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="groupmapping",
            name="teams",
            field=models.ManyToManyField(blank=True, related_name="group_mappings", to="governance.team"),
        ),
        migrations.AddField(
            model_name="oauthclient",
            name="agent",
            field=models.ForeignKey(
                blank=True,
                help_text="Whose own client this is; empty for a client that people let in.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="oauth_clients",
                to="governance.agent",
            ),
        ),
        migrations.AddField(
            model_name="oauthclient",
            name="registered_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="registered_oauth_clients",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="devicecode",
            name="client",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="device_codes",
                to=settings.OAUTH2_PROVIDER_APPLICATION_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="authorization",
            name="client",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="authorizations",
                to=settings.OAUTH2_PROVIDER_APPLICATION_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="accesstoken",
            name="client",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="access_tokens",
                to=settings.OAUTH2_PROVIDER_APPLICATION_MODEL,
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
        migrations.AddField(
            model_name="refreshtoken",
            name="authorization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="refresh_tokens",
                to="governance.authorization",
            ),
        ),
        migrations.AddField(
            model_name="rotationtask",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                help_text="Who sees to it.",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="rotation_tasks",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="staffidentity",
            name="person",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="staff_identities",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="trustedissuer",
            name="directory",
            field=models.ForeignKey(
                blank=True,
                help_text="Whose external ids are the subjects (sub) it speaks of; besides those who signed in by it.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="issuers",
                to="governance.directory",
            ),
        ),
        migrations.AddField(
            model_name="trustedissuer",
            name="poll_secret",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="event_issuers",
                to="governance.secret",
                verbose_name="token for that",
            ),
        ),
        migrations.AddField(
            model_name="upstreamclient",
            name="connector",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="upstream_client",
                to="governance.connector",
            ),
        ),
        migrations.AddField(
            model_name="upstreamclient",
            name="secret",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="clients",
                to="governance.secret",
            ),
        ),
        migrations.AddField(
            model_name="upstreamclient",
            name="server",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="clients", to="governance.upstreamauthserver"
            ),
        ),
        migrations.AddField(
            model_name="upstreamgrant",
            name="client",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="grants", to="governance.upstreamclient"
            ),
        ),
        migrations.AddField(
            model_name="upstreamgrant",
            name="connector",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="upstream_grants",
                to="governance.connector",
            ),
        ),
        migrations.AddField(
            model_name="upstreamgrant",
            name="person",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="connected_accounts",
                to=settings.AUTH_USER_MODEL,
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
        migrations.AddConstraint(
            model_name="oauthclient",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ("pending", "approved", "disabled"))),
                name="oauth_client_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="authorization",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("revoked_at", None), ("revoked_by", "")),
                    models.Q(
                        models.Q(("revoked_at", None), _negated=True), models.Q(("revoked_by", ""), _negated=True)
                    ),
                    _connector="OR",
                ),
                name="authorization_revocation_names_who",
            ),
        ),
        migrations.AddConstraint(
            model_name="accesstoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("authorization", None), ("credential__isnull", False)),
                    models.Q(("authorization__isnull", False), ("credential", None)),
                    _connector="OR",
                ),
                name="access_token_rests_on_one",
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
        migrations.AddIndex(
            model_name="rotationtask",
            index=models.Index(condition=models.Q(("state", "open")), fields=["due_at"], name="rotation_task_open"),
        ),
        migrations.AddConstraint(
            model_name="rotationtask",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ("open", "done", "dropped"))), name="rotation_task_state_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="rotationtask",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("done_at", None), ("done_by", ""), ("state", "open")),
                    models.Q(
                        models.Q(("state", "open"), _negated=True),
                        models.Q(("done_at", None), _negated=True),
                        models.Q(("done_by", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="rotation_task_end_names_who",
            ),
        ),
        migrations.AddConstraint(
            model_name="rotationtask",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "open")),
                fields=("subject_kind", "subject_id", "reason"),
                name="one_open_rotation_task_per_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="staffidentity",
            constraint=models.UniqueConstraint(fields=("issuer", "subject"), name="staff_identity_is_one_person"),
        ),
        migrations.AddConstraint(
            model_name="staffidentity",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at", None), ("ended_by", "")),
                    models.Q(models.Q(("ended_at", None), _negated=True), models.Q(("ended_by", ""), _negated=True)),
                    _connector="OR",
                ),
                name="staff_identity_end_names_who",
            ),
        ),
        migrations.AddConstraint(
            model_name="trustedissuer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind", "directory"),
                    models.Q(("ends_access", False), ("grants_access", False), ("kind", "workload")),
                    _connector="OR",
                ),
                name="issuer_of_workloads_speaks_for_no_person",
            ),
        ),
        migrations.AddConstraint(
            model_name="trustedissuer",
            constraint=models.CheckConstraint(
                condition=models.Q(("longest_seconds__gte", 60), ("longest_seconds__lte", 86400)),
                name="issuer_tokens_bounded",
            ),
        ),
        migrations.AddConstraint(
            model_name="upstreamclient",
            constraint=models.CheckConstraint(
                condition=models.Q(("source__in", ("secret", "document", "registered"))),
                name="upstream_client_source_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="upstreamclient",
            constraint=models.CheckConstraint(
                condition=models.Q(("source", "secret"), models.Q(("client_id", ""), _negated=True), _connector="OR"),
                name="upstream_client_has_an_id",
            ),
        ),
        migrations.AddIndex(
            model_name="upstreamgrant",
            index=models.Index(
                condition=models.Q(("revocation", "due")), fields=["revocation_due_at"], name="grant_revocation_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="upstreamgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ("live", "reconnect", "ended"))), name="upstream_grant_status_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="upstreamgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("ended_at__isnull", False), ("status", "ended"), models.Q(("ended_by", ""), _negated=True)
                    ),
                    models.Q(models.Q(("status", "ended"), _negated=True), ("ended_at", None), ("ended_by", "")),
                    _connector="OR",
                ),
                name="upstream_grant_end_names_who",
            ),
        ),
        migrations.AddConstraint(
            model_name="upstreamgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(("revocation__in", ("none", "due", "done", "manual", "settled"))),
                name="upstream_grant_revocation_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="upstreamgrant",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "ended"), _negated=True),
                fields=("connector", "person"),
                name="one_account_per_person_and_connector",
            ),
        ),
        migrations.AddConstraint(
            model_name="upstreamgrant",
            constraint=models.UniqueConstraint(
                condition=models.Q(models.Q(("status", "ended"), _negated=True), ("person", None)),
                fields=("connector",),
                name="one_shared_account_per_connector",
            ),
        ),
    ]
