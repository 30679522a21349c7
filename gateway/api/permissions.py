"""May she: the token's scopes and the person's duties, both asked for the one permission that an action needs."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from gateway.api.problems import Problem
from governance.models import User
from governance.personal_tokens import SCOPES, scopes_allow

ACTS = {"list": "view", "retrieve": "view", "create": "add", "partial_update": "change", "destroy": "delete"}
READS = frozenset({"list", "retrieve"})


def may(person: User, permission: str) -> bool:
    """As in the admin, where duties count for those only who may enter it."""
    return person.is_staff and person.has_perm(permission)


class ByDuty(BasePermission):  # type: ignore[misc]
    """What somebody may not see is not there (404); what she sees and may not touch is forbidden (403)."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.auth is None:
            return False
        permission = view.permission
        if permission is None:
            return True
        if not scopes_allow(request.auth.scopes, permission):
            raise Problem("missing_scope", _scopes_for(permission))
        return view.decides_by_row or may(request.user, permission)

    def has_object_permission(self, request: Request, view: Any, row: Any) -> bool:
        return may(request.user, view.permission) or view.is_own_affair(row)


def _scopes_for(permission: str) -> str:
    names = [name for name in SCOPES if scopes_allow([name], permission)]
    if not names:
        return "No token may do this; it is done on its page, by somebody who has just signed in."
    return f"This takes the scope {' or '.join(names)}. Make another token on the page /me/tokens/."
