"""The one organisation this installation serves."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils.timezone import now

from governance.models.base import Governed
from governance.models.policies import Policy


class Organization(Governed):
    """A single row; its policies bind every call.

    `business_hours` is {"days": ["mon", ...], "from": "09:00", "to": "17:00"}; `holidays` are {"date": "2026-12-25",
    "name": "Christmas"}; `networks` maps a name to CIDRs, e.g. {"office": ["192.0.2.0/24"]}.
    """

    is_only = models.BooleanField(default=True, unique=True, editable=False)
    name = models.CharField(max_length=200, default="Example Corp")
    timezone = models.CharField(max_length=64, default="UTC")
    business_hours = models.JSONField(default=dict, blank=True, db_default={})
    holidays = models.JSONField(default=list, blank=True, db_default=[])
    networks = models.JSONField(default=dict, blank=True, db_default={})
    requires_review = models.BooleanField(
        "changes of rules need a second person",
        default=False,
        db_default=False,
        help_text="Bundles and policies are published only after somebody else than their author has agreed.",
    )
    agents_may_ask = models.BooleanField(
        "agents may ask for access",
        default=False,
        db_default=False,
        help_text="Offers agents tools of the gateway's own to ask for a bundle or tool, and to see their requests.",
    )
    rotate_after_days = models.PositiveSmallIntegerField(
        "credentials are replaced after days",
        null=True,
        blank=True,
        default=90,
        db_default=90,
        validators=[MinValueValidator(30), MaxValueValidator(90)],
        help_text="30 to 90. Keys of agents and secrets of connectors that are older are due. Empty: none ever is.",
    )
    rotation_overlap_hours = models.PositiveSmallIntegerField(
        "overlap in hours",
        default=168,
        db_default=168,
        validators=[MaxValueValidator(720)],
        help_text="How long a key still works beside the one that takes its place; 0 ends it at once.",
    )
    rotation_warn_days = models.PositiveSmallIntegerField(
        "warn days before",
        default=14,
        db_default=14,
        validators=[MinValueValidator(1), MaxValueValidator(29)],
        help_text="The owner is told that many days before a key is due or expires.",
    )
    ends_overdue = models.BooleanField(
        "end overdue keys",
        default=False,
        db_default=False,
        help_text="A key that nobody replaced ends when it is due. Its owner has been told so.",
    )
    unused_after_days = models.PositiveSmallIntegerField(
        "a key is unused after days",
        null=True,
        blank=True,
        default=60,
        db_default=60,
        validators=[MinValueValidator(7), MaxValueValidator(365)],
        help_text="7 to 365. What was not shown for so long is flagged. Empty: nothing is.",
    )
    ends_unused = models.BooleanField(
        "end unused keys",
        default=False,
        db_default=False,
        help_text="A flagged key ends when it stays unused for the days of warning.",
    )
    uses_kept_since = models.DateTimeField(
        default=now,
        db_default=Now(),
        editable=False,
        help_text="What was used before is not known, so nothing counts as unused for longer.",
    )
    client_hosts = models.JSONField(
        "hosts of clients that describe themselves",
        default=list,
        blank=True,
        db_default=[],
        help_text="Host names, one a line, e.g. claude.ai. A client from there is read, and waits for approval.",
    )
    clients_may_register = models.BooleanField(
        "clients may register themselves",
        default=False,
        db_default=False,
        help_text="Anybody who reaches the gateway may then add to the queue. Off, unless a client cannot do without.",
    )
    policies = models.ManyToManyField(Policy, blank=True, related_name="organizations")

    class Meta:
        constraints = (
            models.CheckConstraint(condition=models.Q(is_only=True), name="one_organization"),
            models.CheckConstraint(
                condition=models.Q(rotate_after_days=None) | models.Q(rotate_after_days__range=(30, 90)),
                name="rotation_in_30_to_90_days",
            ),
            models.CheckConstraint(
                condition=models.Q(rotation_overlap_hours__lte=720, rotation_warn_days__range=(1, 29)),
                name="rotation_overlap_and_warning_bounded",
            ),
            models.CheckConstraint(
                condition=models.Q(unused_after_days=None) | models.Q(unused_after_days__range=(7, 365)),
                name="unused_after_7_to_365_days",
            ),
        )

    def __str__(self) -> str:
        return self.name
