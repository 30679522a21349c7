"""What inspection finds and rules pass over for a time, because humans know better."""

from django.db import models

from governance.models.base import Governed, NameField
from governance.models.bundles import Bundle
from governance.models.people import User
from governance.models.registry import Connector, Tool


class DetectionOff(Governed):
    """A detection rule that is switched off for the whole organisation, while the row is there."""

    rule = models.CharField(max_length=100, unique=True)
    reason = models.CharField(max_length=500)
    set_by = models.CharField(max_length=300)
    set_at = models.DateTimeField()

    class Meta:
        ordering = ("rule",)
        constraints = (models.CheckConstraint(condition=~models.Q(reason=""), name="detection_off_has_a_reason"),)

    def __str__(self) -> str:
        return self.rule


class PatternException(Governed):
    """Findings of one detection rule, of one value or at some places, at one tool, connector or bundle, count for no
    rule until it ends. They stay on record. It ends by itself; what was set is history and is not edited."""

    name = NameField()
    rule = models.CharField("detection rule", max_length=100, help_text="As findings name it, e.g. card_number.")
    fingerprint = models.CharField(
        max_length=64, blank=True, help_text="Of one value, as its finding has it. Empty: every value at the place."
    )
    path = models.CharField(
        "place",
        max_length=200,
        blank=True,
        help_text="A glob over places as findings have them, e.g. /arguments/note or /content/*. Empty: everywhere.",
    )
    tool = models.ForeignKey(Tool, null=True, blank=True, on_delete=models.CASCADE, related_name="exceptions")
    connector = models.ForeignKey(Connector, null=True, blank=True, on_delete=models.CASCADE, related_name="exceptions")
    bundle = models.ForeignKey(Bundle, null=True, blank=True, on_delete=models.CASCADE, related_name="exceptions")
    ends_at = models.DateTimeField("ends (UTC)")
    reason = models.CharField(max_length=500)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=300)
    proposed_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    awaits_second = models.BooleanField("waits for a second person", default=False, db_default=False)
    approved_at = models.DateTimeField(null=True, blank=True)
    approved_by = models.CharField(max_length=300, blank=True, db_default="", default="")
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=300, blank=True, db_default="", default="")

    class Meta:
        ordering = ("-created_at", "id")
        verbose_name = "exception"
        constraints = (
            models.CheckConstraint(
                condition=~models.Q(fingerprint="", path=""), name="exception_names_a_value_or_a_place"
            ),
            models.CheckConstraint(
                condition=models.Q(tool__isnull=False, connector=None, bundle=None)
                | models.Q(tool=None, connector__isnull=False, bundle=None)
                | models.Q(tool=None, connector=None, bundle__isnull=False),
                name="exception_is_for_one_target",
            ),
            models.CheckConstraint(condition=~models.Q(reason=""), name="exception_has_a_reason"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def target(self) -> str:
        if self.tool:
            return f"tool {self.tool}"
        return f"connector {self.connector.name}" if self.connector else f"bundle {self.bundle.name}"  # type: ignore[union-attr]

    @property
    def subject(self) -> str:
        """As facts name it."""
        return f"exception:{self.name}"
