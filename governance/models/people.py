"""People and the teams they are in."""

import uuid
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models.functions import Lower

from governance.models.base import Governed, NameField


class Team(Governed):
    """People together; a team's policies bind its members and the members of its descendants."""

    name = NameField()
    title = models.CharField(max_length=200, blank=True)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    policies = models.ManyToManyField("governance.Policy", blank=True, related_name="teams")
    attributes = models.JSONField(
        default=dict,
        blank=True,
        db_default={},
        help_text="Lists that conditions read as person.attributes, e.g. {&quot;repos&quot;: [&quot;web&quot;]}.",
    )

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(parent=None) | ~models.Q(parent=models.F("id")), name="team_not_own_parent"
            ),
        )

    def __str__(self) -> str:
        return self.title or self.name


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """A person; without a password she signs in by one-time link until she sets one."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username)


def valid_duties(duties: Any) -> bool:
    return isinstance(duties, list) and all(duty in User.Duty.values for duty in duties)


class User(AbstractBaseUser, PermissionsMixin, Governed):
    """A human. `is_active` is the one switch: off means nothing of hers works, on every path."""

    class Duty(models.TextChoices):
        IT_ADMIN = "it-admin", "IT admin: people, agents, connectors, offboarding"
        SECURITY = "security", "Security: policies, bundles, review"
        APPROVER = "approver", "Approver"
        AUDITOR = "auditor", "Auditor: evidence"

    SEALED_COLUMNS: ClassVar[frozenset[str]] = frozenset({"password"})
    QUIET_COLUMNS: ClassVar[frozenset[str]] = frozenset({"last_login"})
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField("active", default=True)
    is_staff = models.BooleanField("may enter the admin", default=False)
    duties = models.JSONField(default=list, blank=True, help_text="Fixed roles in the product, combinable.")
    manager = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="reports")
    teams = models.ManyToManyField(Team, blank=True, related_name="members")
    same_as = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="other_accounts",
        verbose_name="same human as",
        help_text="The main account of the same human: two accounts of one human never approve as two.",
    )
    break_glass = models.BooleanField(
        "break-glass account",
        default=False,
        db_default=False,
        help_text="The one local owner for when single sign-on is down: a second factor is required, no directory and "
        "no single sign-on reaches it, and every sign-in is told to all owners and security.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = UserManager()

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"
        ordering = ("email",)
        constraints = (
            models.UniqueConstraint(Lower("email"), name="user_email_unique_ignoring_case"),
            models.UniqueConstraint(
                fields=("break_glass",), condition=models.Q(break_glass=True), name="one_break_glass_account"
            ),
            models.CheckConstraint(
                condition=models.Q(break_glass=False) | models.Q(is_superuser=True), name="break_glass_is_an_owner"
            ),
        )

    def __str__(self) -> str:
        return self.email

    @property
    def human_id(self) -> uuid.UUID:
        """The same for all accounts of one human."""
        return self.same_as_id or self.id

    @property
    def is_owner(self) -> bool:
        return self.is_superuser


class OnCallShift(Governed):
    """Who answers for a team at a time; shifts may overlap."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="shifts")
    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="shifts")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    class Meta:
        verbose_name = "on-call shift"
        ordering = ("team", "starts_at")
        constraints = (
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="shift_ends_after_start"
            ),
        )

    def __str__(self) -> str:
        return f"{self.person} for {self.team.name}"
