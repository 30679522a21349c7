"""Rows of a directory as resources of the protocol, and back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from scim2_models import Resource

from gateway.scim.wire import ENTERPRISE
from governance.directory_people import Told
from governance.models import DirectoryGroup, DirectoryMember, DirectoryUser
from governance.models.directories import DirectoryRow

Model = type[Resource[Any]]
OURS = ("id", "meta", "groups", "members", "password")
"""Not kept with the body: rows of their own, made anew, or never kept."""


def kept_body(resource: Resource[Any]) -> dict[str, Any]:
    """All that the directory said, without what is kept elsewhere."""
    return {key: value for key, value in resource.model_dump().items() if key not in OURS}


def told_of(resource: Resource[Any]) -> Told:
    body = kept_body(resource)
    emails = [email for email in body.get("emails", ()) if isinstance(email, dict) and email.get("value")]
    manager = (body.get(ENTERPRISE) or {}).get("manager") or {}
    return Told(
        user_name=body["userName"],
        external_id=body.get("externalId", ""),
        display_name=_display_name(body),
        email=_address(body["userName"], emails),
        emails=tuple(dict.fromkeys(str(email["value"]) for email in emails)),
        active=body.get("active", True),
        manager_ref=str(manager.get("value") or ""),
        body=body,
    )


def _address(user_name: str, emails: Sequence[Mapping[str, Any]]) -> str:
    """The primary one, else the one at work, else the first; a user name that is an address, if there is none."""
    by_rank = sorted(emails, key=lambda email: (not email.get("primary"), email.get("type") != "work"))
    return str(by_rank[0]["value"]) if by_rank else user_name if "@" in user_name else ""


def _display_name(body: Mapping[str, Any]) -> str:
    name = body.get("name") or {}
    parts = " ".join(part for part in (name.get("givenName"), name.get("familyName")) if part)
    return str(body.get("displayName") or name.get("formatted") or parts)


def user_resource(model: Model, row: DirectoryUser, groups: Iterable[Mapping[str, Any]] = ()) -> Resource[Any]:
    body = {**row.body, "id": str(row.id), "meta": _meta("User", row)}
    if shown := list(groups):
        body["groups"] = shown
    return model.model_validate(body)


def group_resource(model: Model, row: DirectoryGroup, members: Iterable[Mapping[str, Any]] = ()) -> Resource[Any]:
    body = {**row.body, "id": str(row.id), "meta": _meta("Group", row)}
    if shown := list(members):
        body["members"] = shown
    return model.model_validate(body)


def _meta(kind: str, row: DirectoryUser | DirectoryGroup) -> dict[str, Any]:
    return {
        "resourceType": kind,
        "created": row.created_at,
        "lastModified": row.changed_at,
        "version": version_of(row),
    }


def version_of(row: DirectoryRow) -> str:
    return f'W/"{row.version}"'


def members_of(groups: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """In the order they came, with one query for all."""
    found: dict[UUID, list[dict[str, Any]]] = {group: [] for group in groups}
    chosen = DirectoryMember.objects.filter(group_id__in=groups).order_by("id")
    rows: Any = chosen.values_list("group_id", "value", "user_id", "display")
    for group, value, user, name in rows:
        kind = "Group" if user is None else "User"
        shown = {"value": value, "type": kind, "$ref": f"{kind}s/{value}"}
        found[group].append({**shown, "display": name} if name else shown)
    return found


def groups_of(users: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    found: dict[UUID, list[dict[str, Any]]] = {user: [] for user in users}
    rows = DirectoryMember.objects.filter(user_id__in=users, group__deleted_at=None).order_by("id")
    for user, group, name in rows.values_list("user_id", "group_id", "group__display_name"):
        if user is not None:
            shown = {"value": str(group), "$ref": f"Groups/{group}", "display": name, "type": "direct"}
            found[user].append(shown)
    return found


def member_values(resource: Any) -> tuple[dict[str, str], list[str]]:
    """Of users and groups, each with what it is called there; and those of groups only."""
    members = [member for member in resource.members or () if member.value]
    values = {str(member.value): str(member.display or "") for member in members}
    nested = [str(member.value) for member in members if str(member.type or "").lower() == "group"]
    return values, nested
