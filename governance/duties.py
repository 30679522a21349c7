"""What each duty may do, as one table, and the backend that makes Django ask it.

Owners may everything; everybody else exactly what her duties give. Django's own groups and per-user permissions
give nothing. The admin, the pages, the API and the commands all ask for permissions by the names made here:
`governance.change_agent`, `governance.offboard_user`. What a person does to what is her own (her password, her
sessions, her personal tokens) takes no permission.
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
        "governance.user": (*EDIT, "invite", "offboard"),
        "governance.offboarding": EDIT,
        "governance.personaltoken": AMEND,
        "governance.staffidentity": ("view", "end", "allow"),
        "governance.directory": (*EDIT, "connect", "release"),
        "governance.directoryuser": ("view", "adopt"),
        "governance.directorymessage": VIEW,
        "governance.groupmapping": (*MANAGE, "approve"),
        "governance.team": MANAGE,
        "governance.agent": (*EDIT, "retire", "transfer", "explain"),
        "governance.agentcredential": (*EDIT, "issue", "revoke"),
        "governance.rotationtask": (*AMEND, "cut"),
        "governance.connector": (*MANAGE, "discover"),
        "governance.secret": (*MANAGE, "replace", "rewrap"),
        "governance.secretversion": VIEW,
        "governance.ratelimit": MANAGE,
        "governance.tool": AMEND,
        "governance.tooldefinition": VIEW,
        "governance.role": MANAGE,
        "governance.freeze": EDIT,
        "governance.bundle": VIEW,
        "governance.bundleversion": VIEW,
        "governance.bundletool": VIEW,
        "governance.bundleselection": VIEW,
        "governance.organization": VIEW,
        "governance.oncallshift": MANAGE,
        "governance.notificationchannel": MANAGE,
        "governance.chatidentity": MANAGE,
        "governance.grant": ("view", "revoke", "break_glass"),
        "governance.accessreview": EDIT,
        "governance.reaction": VIEW,
        "governance.dataclass": VIEW,
        "governance.externaldetector": VIEW,
        "governance.agentbaseline": ("view", "delete"),
        "governance.anchor": VIEW,
        "governance.trustedissuer": VIEW,
        "governance.oauthclient": ("view", "add", "approve", "disable"),
        "governance.authorization": ("view", "revoke"),
        "governance.upstreamgrant": ("view", "revoke"),
        "governance.sink": VIEW,
        "audit.deadletter": VIEW,
        "audit.calltally": VIEW,
        "gateway.gatewayprocess": VIEW,
        "gateway.notice": VIEW,
    },
    User.Duty.SECURITY: {
        "governance.approvalrequest": VIEW,
        "governance.grant": ("view", "revoke", "review", "break_glass"),
        "governance.accessreview": EDIT,
        "governance.reaction": MANAGE,
        "governance.dataclass": MANAGE,
        "governance.externaldetector": MANAGE,
        "governance.agentbaseline": ("view", "delete"),
        "governance.canary": ("view", "add", "delete", "show"),
        "governance.anchor": (*MANAGE, "keep"),
        "governance.trustedissuer": MANAGE,
        "governance.oauthclient": ("view", "add", "approve", "disable"),
        "governance.authorization": ("view", "revoke"),
        "governance.staffidentity": ("view", "end"),
        "governance.upstreamgrant": ("view", "revoke"),
        "governance.oncallshift": MANAGE,
        "governance.notificationchannel": MANAGE,
        "governance.chatidentity": MANAGE,
        "gateway.notice": VIEW,
        "gateway.maskedvalue": ("show",),
        "governance.rotationtask": (*AMEND, "cut"),
        "governance.policy": (*MANAGE, "publish", "review", "inspect"),
        "governance.policyversion": VIEW,
        "governance.rule": VIEW,
        "governance.ratelimit": MANAGE,
        "governance.bundle": (*MANAGE, "publish", "review"),
        "governance.bundleversion": VIEW,
        "governance.bundletool": VIEW,
        "governance.bundleselection": VIEW,
        "governance.tool": AMEND,
        "governance.tooldefinition": (*AMEND, "decide"),
        "governance.role": MANAGE,
        "governance.freeze": EDIT,
        "governance.legalhold": EDIT,
        "governance.retentionclass": VIEW,
        "governance.erasure": VIEW,
        "governance.team": AMEND,
        "governance.organization": AMEND,
        "governance.connector": VIEW,
        "governance.agent": (*VIEW, "explain"),
        "governance.user": VIEW,
        "governance.sink": MANAGE,
        "audit.findinggroup": ("view", "judge"),
        "governance.patternexception": (*EDIT, "approve"),
        "governance.detectionoff": AMEND,
        "audit.deadletter": VIEW,
        "audit.calltally": VIEW,
    },
    User.Duty.APPROVER: {
        "governance.agent": VIEW,
        "governance.approvalrequest": ("view", "decide"),
    },
    User.Duty.AUDITOR: {
        "governance.approvalrequest": VIEW,
        "governance.grant": VIEW,
        "governance.accessreview": VIEW,
        "governance.reaction": VIEW,
        "governance.dataclass": VIEW,
        "governance.externaldetector": VIEW,
        "governance.agentbaseline": VIEW,
        "governance.canary": VIEW,
        "governance.oauthclient": VIEW,
        "governance.authorization": VIEW,
        "governance.upstreamgrant": VIEW,
        "governance.trustedissuer": VIEW,
        "governance.oncallshift": VIEW,
        "governance.notificationchannel": VIEW,
        "governance.chatidentity": VIEW,
        "gateway.notice": VIEW,
        "governance.user": VIEW,
        "governance.team": VIEW,
        "governance.offboarding": VIEW,
        "governance.directory": VIEW,
        "governance.directoryuser": VIEW,
        "governance.directorymessage": VIEW,
        "governance.groupmapping": VIEW,
        "governance.personaltoken": VIEW,
        "governance.staffidentity": VIEW,
        "governance.agent": (*VIEW, "explain"),
        "governance.agentcredential": VIEW,
        "governance.rotationtask": VIEW,
        "governance.connector": VIEW,
        "governance.tool": VIEW,
        "governance.tooldefinition": VIEW,
        "governance.bundle": VIEW,
        "governance.bundleversion": VIEW,
        "governance.bundletool": VIEW,
        "governance.bundleselection": VIEW,
        "governance.policy": VIEW,
        "governance.policyversion": VIEW,
        "governance.rule": VIEW,
        "governance.ratelimit": VIEW,
        "governance.role": VIEW,
        "governance.freeze": VIEW,
        "governance.legalhold": VIEW,
        "governance.retentionclass": VIEW,
        "governance.erasure": VIEW,
        "governance.organization": VIEW,
        "governance.change": VIEW,
        "governance.anchor": VIEW,
        "governance.eventrow": ("export",),
        "audit.eventrow": VIEW,
        "audit.agentsession": VIEW,
        "audit.payload": VIEW,
        "audit.findinggroup": VIEW,
        "governance.patternexception": VIEW,
        "governance.detectionoff": VIEW,
        "governance.sink": VIEW,
        "audit.deadletter": VIEW,
        "audit.calltally": VIEW,
        "audit.leaf": VIEW,
        "audit.anchorreceipt": VIEW,
        "audit.checkpoint": VIEW,
        "gateway.gatewayprocess": VIEW,
        "gateway.report": ("view", "add"),
    },
}

FRESH_LOGIN = frozenset(
    {
        "audit.view_payload",
        "gateway.show_maskedvalue",
        "governance.adopt_directoryuser",
        "governance.allow_staffidentity",
        "governance.approve_groupmapping",
        "governance.break_glass_grant",
        "governance.connect_directory",
        "governance.release_directory",
        "governance.cut_rotationtask",
        "governance.erase_user",
        "governance.add_retentionclass",
        "governance.change_retentionclass",
        "governance.change_legalhold",
        "governance.change_dataclass",
        "governance.change_organization",
        "governance.show_canary",
        "governance.review_bundle",
        "governance.review_policy",
        "governance.apply_manifest",
        "governance.invite_user",
        "governance.issue_agentcredential",
        "governance.make_owner",
        "governance.offboard_user",
        "governance.publish_bundle",
        "governance.publish_policy",
        "governance.replace_secret",
        "governance.retire_agent",
        "governance.add_patternexception",
        "governance.change_detectionoff",
        "governance.approve_patternexception",
        "governance.add_externaldetector",
        "governance.change_externaldetector",
        "governance.add_sink",
        "governance.change_sink",
        "governance.add_trustedissuer",
        "governance.change_trustedissuer",
    }
)
"""The dangerous acts: who found an unlocked screen, or took over a session, must not get away with them."""


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


def who_may(permission: str) -> str:
    """In words, for somebody who may not: "the duty IT admin or an owner"."""
    duties = [User.Duty(duty) for duty, given in PERMISSIONS.items() if permission in given]
    named = [duty.label.partition(":")[0] for duty in duties]
    return " or ".join([*(f"the duty {name}" for name in named), "an owner"])


def still_may(person_id: Any, permission: str) -> bool:
    """Asked again when something was waited for: the person may have lost the right meanwhile."""
    person = User.objects.filter(pk=person_id).first()
    return bool(person and person.is_active and person.is_staff and person.has_perm(permission))


def may_sign_in_as(acting: User | AnonymousUser, person: User) -> bool:
    """Whether a way in as `person` would raise nobody's rights; a duty may be more than its permissions."""
    if not isinstance(acting, User) or not acting.is_active:
        return False
    return acting.is_superuser or (not person.is_superuser and set(person.duties) <= set(acting.duties))


def may_do_anything(person: User) -> bool:
    """Anything beyond what is her own, now or as soon as somebody activates her."""
    return bool(person.is_superuser or person.is_staff or person.duties)


class DutyBackend(ModelBackend):
    """Signs in by e-mail and password; permissions come from the table. Somebody inactive has none at all."""

    def get_all_permissions(self, user_obj: User | AnonymousUser, obj: Any = None) -> set[str]:
        if not isinstance(user_obj, User) or not user_obj.is_active or obj is not None:
            return set()
        return set().union(*(PERMISSIONS.get(duty, frozenset()) for duty in user_obj.duties))
