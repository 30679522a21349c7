"""How long evidence is kept, what must be kept longer, and who was erased."""

from django.core.validators import MaxValueValidator
from django.db import models

from governance.models.agents import Agent
from governance.models.base import Governed, NameField
from governance.models.people import User

MOST_DAYS = 36_500


class RetentionClass(Governed):
    """How long the evidence of some bundles is kept; 0 keeps it for ever. Bundles without one take the default."""

    QUIET_COLUMNS = frozenset({"pruned_to"})

    name = NameField()
    payload_days = models.PositiveIntegerField(
        "days for arguments and results",
        default=400,
        db_default=400,
        validators=[MaxValueValidator(MOST_DAYS)],
        help_text="Counted from the end of the month of the call. 0 keeps them for ever.",
    )
    header_days = models.PositiveIntegerField(
        "days for the records of calls",
        default=0,
        db_default=0,
        validators=[MaxValueValidator(MOST_DAYS)],
        help_text="Then only each record's place and hash in the log stay. 0 keeps them for ever.",
    )
    pruned_to = models.BigIntegerField(default=0, db_default=0, editable=False)
    """The first leaf that the pruning of records has not looked at yet."""
    is_default = models.BooleanField(
        "for bundles that name no class", default=False, db_default=False, help_text="At most one class is."
    )

    class Meta:
        ordering = ("name",)
        verbose_name_plural = "retention classes"
        constraints = (
            models.UniqueConstraint(
                fields=("is_default",), condition=models.Q(is_default=True), name="one_default_retention_class"
            ),
            models.CheckConstraint(
                condition=models.Q(payload_days__lte=MOST_DAYS, header_days__lte=MOST_DAYS),
                name="retention_days_bounded",
            ),
        )

    def __str__(self) -> str:
        return self.name


class LegalHold(Governed):
    """Keeps evidence of a person, an agent or a time from retention, pruning and erasure until it is lifted.

    What it names narrows it: a person and a time hold what was done for her in that time. Dates are whole days, UTC.
    """

    person = models.ForeignKey(User, null=True, blank=True, on_delete=models.PROTECT, related_name="legal_holds")
    agent = models.ForeignKey(Agent, null=True, blank=True, on_delete=models.PROTECT, related_name="legal_holds")
    first_day = models.DateField("from", null=True, blank=True)
    last_day = models.DateField("until", null=True, blank=True)
    reason = models.CharField(max_length=500)
    set_by = models.CharField(max_length=300)
    set_at = models.DateTimeField()
    lifted_by = models.CharField(max_length=300, blank=True, default="", db_default="")
    lifted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-set_at", "id")
        constraints = (
            models.CheckConstraint(
                condition=~models.Q(person=None, agent=None, first_day=None, last_day=None),
                name="legal_hold_names_something",
            ),
            models.CheckConstraint(condition=~models.Q(reason=""), name="legal_hold_has_a_reason"),
            models.CheckConstraint(
                condition=models.Q(first_day=None)
                | models.Q(last_day=None)
                | models.Q(first_day__lte=models.F("last_day")),
                name="legal_hold_begins_before_it_ends",
            ),
        )

    def __str__(self) -> str:
        return f"legal hold on {self.target}"

    @property
    def subject(self) -> str:
        """As facts name it."""
        if self.person:
            return f"person:{self.person.email}"
        return f"agent:{self.agent.name}" if self.agent else "legal hold"

    @property
    def target(self) -> str:
        parts = [f"person {self.person.email}" if self.person else "", f"agent {self.agent.name}" if self.agent else ""]
        if self.first_day or self.last_day:
            parts.append(f"{self.first_day or 'the beginning'} to {self.last_day or 'today and on'}")
        return ", ".join(filter(None, parts))


class Erasure(Governed):
    """That the payloads of a person were made unreadable for good. She is copied in as text: the row outlives hers."""

    subject = models.CharField(max_length=80, db_index=True)
    email = models.EmailField()
    reason = models.CharField(max_length=500)
    keys = models.PositiveIntegerField()
    payloads = models.PositiveBigIntegerField()
    by = models.CharField(max_length=300)
    at = models.DateTimeField()

    class Meta:
        ordering = ("-at", "id")
        constraints = (models.CheckConstraint(condition=~models.Q(reason=""), name="erasure_has_a_reason"),)

    def __str__(self) -> str:
        return f"erasure of {self.email}"
