"""The one organisation this installation serves."""

from django.db import models

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
    policies = models.ManyToManyField(Policy, blank=True, related_name="organizations")

    class Meta:
        constraints = (models.CheckConstraint(condition=models.Q(is_only=True), name="one_organization"),)

    def __str__(self) -> str:
        return self.name
