"""What each duty may do, as one table, and the backend that makes Django ask it.

Owners may everything; everybody else exactly what her duties give. Django's own groups and per-user permissions
give nothing.
"""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser

from governance.models import User

VIEW = ("view",)
EDIT = ("view", "add", "change")
MANAGE = ("view", "add", "change", "delete")
AMEND = ("view", "change")

DUTIES: dict[str, dict[str, tuple[str, ...]]] = {
    User.Duty.IT_ADMIN: {
        "governance.user": EDIT,
        "governance.team": MANAGE,
        "governance.agent": EDIT,
        "governance.agentcredential": EDIT,
        "governance.connector": MANAGE,
        "governance.secret": MANAGE,
        "governance.secretversion": VIEW,
        "governance.tool": AMEND,
        "governance.tooldefinition": VIEW,
        "governance.role": MANAGE,
        "governance.freeze": EDIT,
        "governance.bundle": VIEW,
        "governance.bundleversion": VIEW,
        "governance.bundletool": VIEW,
        "governance.organization": VIEW,
        "gateway.gatewayprocess": VIEW,
    },
    User.Duty.SECURITY: {
        "governance.policy": MANAGE,
        "governance.policyversion": VIEW,
        "governance.rule": VIEW,
        "governance.bundle": MANAGE,
        "governance.bundleversion": VIEW,
        "governance.bundletool": VIEW,
        "governance.tool": AMEND,
        "governance.tooldefinition": AMEND,
        "governance.role": MANAGE,
        "governance.freeze": EDIT,
        "governance.team": AMEND,
        "governance.organization": AMEND,
        "governance.connector": VIEW,
        "governance.agent": VIEW,
        "governance.user": VIEW,
    },
    User.Duty.APPROVER: {
        "governance.agent": VIEW,
    },
    User.Duty.AUDITOR: {
        "governance.user": VIEW,
        "governance.team": VIEW,
        "governance.agent": VIEW,
        "governance.agentcredential": VIEW,
        "governance.connector": VIEW,
        "governance.tool": VIEW,
        "governance.tooldefinition": VIEW,
        "governance.bundle": VIEW,
        "governance.bundleversion": VIEW,
        "governance.bundletool": VIEW,
        "governance.policy": VIEW,
        "governance.policyversion": VIEW,
        "governance.rule": VIEW,
        "governance.role": VIEW,
        "governance.freeze": VIEW,
        "governance.organization": VIEW,
        "governance.change": VIEW,
        "audit.eventrow": VIEW,
        "audit.leaf": VIEW,
        "audit.checkpoint": VIEW,
        "gateway.gatewayprocess": VIEW,
    },
}


def _permissions_of_duty(duty: str) -> frozenset[str]:
    """As Django writes them: `governance.change_agent`."""
    table = DUTIES.get(duty, {})
    return frozenset(
        f"{app}.{act}_{model}"
        for label, acts in table.items()
        for app, _, model in [label.partition(".")]
        for act in acts
    )


PERMISSIONS = {duty: _permissions_of_duty(duty) for duty in DUTIES}


class DutyBackend(ModelBackend):
    """Signs in by e-mail and password; permissions come from the table. Somebody inactive has none at all."""

    def get_all_permissions(self, user_obj: User | AnonymousUser, obj: Any = None) -> set[str]:
        if not isinstance(user_obj, User) or not user_obj.is_active or obj is not None:
            return set()
        return set().union(*(PERMISSIONS.get(duty, frozenset()) for duty in user_obj.duties))
