"""Directories: an organisation's list of people and groups, as an identity provider keeps it here by SCIM.

The rows of a directory are its word, kept as it was said. What follows from it for people, teams and duties is written
to those, in the same transaction (governance/directory_people.py).
"""

import uuid
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower

from governance.models.agents import Agent
from governance.models.base import Governed, NameField
from governance.models.people import Team, User
from governance.models.secrets import Secret

BRAKE_SHARE = 10
BRAKE_NUMBER = 10
OFTENEST_MINUTES = 5
RAREST_MINUTES = 7 * 24 * 60


class Directory(Governed):
    """One connection to an identity provider; it sees and changes only what it brought itself or was given."""

    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"last_seen_at"})

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    is_enabled = models.BooleanField("enabled", default=True, help_text="Off refuses its every message.")
    networks = models.JSONField(
        default=list, blank=True, help_text="Where its messages may come from, as 203.0.113.0/24; empty means anywhere."
    )
    brake_number = models.PositiveIntegerField(
        "brake, people",
        default=BRAKE_NUMBER,
        help_text="So many people may lose something within ten minutes, whatever their share.",
    )
    brake_share = models.PositiveSmallIntegerField(
        "brake, percent", default=BRAKE_SHARE, help_text="Beyond this share of its people, the rest waits for you."
    )
    ends_without_groups = models.BooleanField(
        "losing the last group ends a person",
        default=False,
        help_text="Who is in none of the mapped groups any more is offboarded.",
    )
    agents_to_manager = models.BooleanField(
        "agents go to the manager",
        default=True,
        help_text="Agents of who leaves pass to her manager; otherwise they are suspended.",
    )
    pull_url = models.CharField(
        "address of its SCIM server",
        max_length=500,
        blank=True,
        db_default="",
        default="",
        help_text="Where its people and groups are read and compared, if it serves them: https://idp.example.com/scim/v2.",
    )
    pull_secret = models.ForeignKey(
        Secret,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="directories",
        verbose_name="token for that",
    )
    pull_minutes = models.PositiveIntegerField(
        "minutes between two looks",
        default=60,
        db_default=60,
        validators=[MinValueValidator(OFTENEST_MINUTES), MaxValueValidator(RAREST_MINUTES)],
    )
    pull_applies = models.BooleanField(
        "what differs is set right",
        default=False,
        db_default=False,
        help_text="As if the directory had sent it, with the same brake. Off: differences are shown and told.",
    )
    manages_agents = models.BooleanField(
        "agents, too (experimental)",
        default=False,
        db_default=False,
        help_text="Serves /Agents: it may bring agents, hand them over, suspend and retire them. It gives no role.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name_plural = "directories"
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(condition=models.Q(brake_share__lte=100), name="directory_brake_share_is_percent"),
        )

    def __str__(self) -> str:
        return self.title or self.name


class DirectoryToken(Governed):
    """What the identity provider shows; two may be live, so that one can be replaced without a gap."""

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"digest"})
    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"last_used_at"})

    directory = models.ForeignKey(Directory, on_delete=models.PROTECT, related_name="tokens")
    digest = models.BinaryField(max_length=32, unique=True)
    hint = models.CharField(max_length=24)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=300)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(revoked_at=None, revoked_by="")
                | ~models.Q(revoked_at=None) & ~models.Q(revoked_by=""),
                name="directory_token_revocation_names_who",
            ),
        )

    def __str__(self) -> str:
        return f"{self.hint}… of {self.directory}"


class DirectoryRow(models.Model):
    """What users and groups of a directory share. A deleted row stays as a tombstone: no id is ever used again."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    external_id = models.CharField(max_length=300, blank=True)
    display_name = models.CharField(max_length=300, blank=True)
    body = models.JSONField(default=dict)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.display_name or str(self.id)


class DirectoryUser(DirectoryRow):
    """Somebody as the directory describes her. `person` is who that is here; none while nobody was found or confirmed.

    `active` is the directory's word. Only its change does something: who was ended here stays ended, however often
    the directory repeats what it said before.
    """

    directory = models.ForeignKey(Directory, on_delete=models.PROTECT, related_name="users")
    person = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="directory_users")
    user_name = models.CharField(max_length=300)
    user_name_key = models.CharField(max_length=400)
    email = models.CharField(max_length=254, blank=True)
    active = models.BooleanField(default=True)
    manager_ref = models.CharField(max_length=100, blank=True)
    problem = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=("directory", "user_name_key"),
                condition=models.Q(deleted_at=None),
                name="directory_user_name_unique",
            ),
            models.UniqueConstraint(
                fields=("person",), condition=models.Q(deleted_at=None), name="one_directory_per_person"
            ),
        )
        indexes = (
            models.Index(fields=("directory", "external_id"), name="directory_user_external_id"),
            models.Index(fields=("directory", "manager_ref"), name="directory_user_manager"),
        )

    def __str__(self) -> str:
        return self.user_name


class DirectoryEmail(models.Model):
    """An address of a directory's user, to find her by; folded for comparing."""

    user = models.ForeignKey(DirectoryUser, on_delete=models.CASCADE, related_name="emails")
    key = models.CharField(max_length=300, db_index=True)

    def __str__(self) -> str:
        return self.key


class DirectoryGroup(DirectoryRow):
    """A group as the directory describes it; what it gives here is a mapping's."""

    directory = models.ForeignKey(Directory, on_delete=models.PROTECT, related_name="groups")
    display_name_key = models.CharField(max_length=400)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=("directory", "display_name_key"),
                condition=models.Q(deleted_at=None),
                name="directory_group_name_unique",
            ),
        )
        indexes = (models.Index(fields=("directory", "external_id"), name="directory_group_external_id"),)


class DirectoryMember(models.Model):
    """One membership is one row: a group of fifty thousand changes by what changes. `user` is none for a group in it,
    which is kept and not resolved."""

    group = models.ForeignKey(DirectoryGroup, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(DirectoryUser, null=True, blank=True, on_delete=models.CASCADE, related_name="memberships")
    value = models.CharField(max_length=100)
    display = models.CharField(max_length=300, blank=True, db_default="")

    class Meta:
        ordering = ("id",)
        constraints = (models.UniqueConstraint(fields=("group", "value"), name="directory_member_once"),)

    def __str__(self) -> str:
        return self.value


class DirectoryAgent(DirectoryRow):
    """An agent as the directory describes it; `agent` is the one that was made for it here. It wakes only an agent that
    its own word has put to sleep."""

    directory = models.ForeignKey(Directory, on_delete=models.PROTECT, related_name="agents")
    agent = models.OneToOneField(Agent, on_delete=models.PROTECT, related_name="directory_agent")
    user_name = models.CharField(max_length=300)
    user_name_key = models.CharField(max_length=400)
    active = models.BooleanField(default=True)
    has_suspended = models.BooleanField(default=False)

    class Meta:
        ordering = ("id",)
        indexes = (
            models.Index(fields=("directory", "user_name_key"), name="directory_agent_user_name"),
            models.Index(fields=("directory", "external_id"), name="directory_agent_external_id"),
        )

    def __str__(self) -> str:
        return self.user_name


class GroupMapping(Governed):
    """What being in a group gives: teams, and duties once a second human has agreed.

    The group is a directory's, or, without a directory, a name in what the single sign-on says of who signs in. Bound
    to a directory's group, it follows that one and not the name: nobody gets rights by renaming a group.
    """

    directory = models.ForeignKey(
        Directory,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="mappings",
        help_text="None means the groups named at single sign-on.",
    )
    group_name = models.CharField("group", max_length=300)
    group = models.ForeignKey(
        DirectoryGroup, null=True, blank=True, on_delete=models.SET_NULL, related_name="mappings", editable=False
    )
    teams = models.ManyToManyField(Team, blank=True, related_name="group_mappings")
    duties = models.JSONField(default=list, blank=True, help_text="In force once a second human has agreed.")
    admin_access = models.BooleanField(
        "may enter the admin", default=False, help_text="In force once a second human has agreed."
    )
    is_enabled = models.BooleanField("enabled", default=True)
    proposed_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    approved_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    approved_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("directory", "group_name")
        constraints = (
            models.UniqueConstraint("directory", Lower("group_name"), name="group_mapping_once_per_directory"),
            models.UniqueConstraint(
                Lower("group_name"), condition=models.Q(directory=None), name="group_mapping_once_at_sign_on"
            ),
        )

    def __str__(self) -> str:
        return f"{self.group_name} of {self.directory or 'single sign-on'}"

    @property
    def raises_rights(self) -> bool:
        return bool(self.duties or self.admin_access)


class DirectoryMessage(models.Model):
    """One message of a directory: what it asked, and what that changed. Passwords are never in it."""

    directory = models.ForeignKey(Directory, on_delete=models.PROTECT, related_name="messages")
    at = models.DateTimeField()
    request_id = models.CharField(max_length=64)
    source_ip = models.CharField(max_length=64, blank=True)
    token_hint = models.CharField(max_length=24, blank=True)
    method = models.CharField(max_length=10)
    path = models.CharField(max_length=1000)
    status = models.PositiveSmallIntegerField()
    body = models.JSONField(null=True, blank=True)
    changes = models.JSONField(default=list, blank=True)
    problem = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("directory", "-id"), name="directory_message_newest"),
            models.Index(fields=("at",), name="directory_message_at"),
        )

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class DirectoryRun(models.Model):
    """One look at the directory's own list: what was read there, and what is otherwise here."""

    class State(models.TextChoices):
        RUNNING = "running", "Under way"
        DONE = "done", "Compared"
        FAILED = "failed", "Could not be read"

    directory = models.ForeignKey(Directory, on_delete=models.PROTECT, related_name="runs")
    state = models.CharField(max_length=7, choices=State, default=State.RUNNING)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    users = models.PositiveIntegerField(default=0)
    groups = models.PositiveIntegerField(default=0)
    found = models.PositiveIntegerField(default=0)
    differences = models.JSONField(default=list, blank=True)
    gone = models.JSONField(default=list, blank=True)
    applied = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    problem = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("directory",), condition=models.Q(state="running"), name="one_directory_run_at_a_time"
            ),
        )
        indexes = (models.Index(fields=("directory", "-id"), name="directory_run_newest"),)

    def __str__(self) -> str:
        return f"{self.directory}: {self.get_state_display()}"


class DirectoryLoss(models.Model):
    """What a person lost because the directory said so, or will lose once somebody agrees: the brake counts these."""

    class Kind(models.TextChoices):
        LEAVES = "leaves", "Leaves: everything of hers ends"
        GROUP = "group", "Out of a group, with what it gives"

    class State(models.TextChoices):
        DONE = "done", "Done"
        HELD = "held", "Waits for somebody to agree"
        RELEASED = "released", "Agreed to and done"
        DROPPED = "dropped", "Not done"

    directory = models.ForeignKey(Directory, on_delete=models.PROTECT, related_name="losses")
    user = models.ForeignKey(DirectoryUser, on_delete=models.CASCADE, related_name="losses")
    group = models.ForeignKey(DirectoryGroup, null=True, blank=True, on_delete=models.CASCADE, related_name="losses")
    kind = models.CharField(max_length=6, choices=Kind)
    state = models.CharField(max_length=8, choices=State)
    at = models.DateTimeField()
    why = models.CharField(max_length=300, blank=True)
    decided_by = models.CharField(max_length=300, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "directory losses"
        ordering = ("id",)
        indexes = (
            models.Index(fields=("directory", "at"), name="directory_loss_at"),
            models.Index(fields=("directory",), condition=models.Q(state="held"), name="directory_loss_held"),
        )

    def __str__(self) -> str:
        return f"{self.user}: {self.get_kind_display()}"
