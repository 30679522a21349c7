"""Where a directory's own list says otherwise than what is here, and the message by which it would have said so."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from scim2_models import SCIMException

from gateway.scim.pulling.reading import Listed
from gateway.scim.rows import kept_body
from gateway.scim.service import as_pushed
from gateway.scim.wire import CORE_GROUP, CORE_USER, ENTERPRISE, MESSAGES
from governance.directory_sync import folded, in_parts
from governance.models import Directory, DirectoryGroup, DirectoryMember, DirectoryUser

Body = dict[str, Any]
MOST_NAMED = 20
MOST_IN_A_MESSAGE = 1_000
LONGEST_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Difference:
    """`what` is one of governance.directory_pulls.IN_WORDS; `messages` set it right: method, path and body each."""

    what: str
    who: str
    details: Mapping[str, Any]
    messages: tuple[tuple[str, str, Body], ...] = ()
    row_id: str = ""

    def shown(self) -> Body:
        return {"what": self.what, "who": self.who[:LONGEST_SHOWN], **self.details}


def differences(directory: Directory, listed: Listed, *, gone_before: Collection[str]) -> Iterator[Difference]:
    """Who is gone now and was gone at the look before leaves; once alone may be a slip of theirs."""
    users = _Users(directory, listed)
    yield from users.differences()
    yield from _Groups(directory, listed, users).differences()
    for each in users.gone():
        off = ("PATCH", f"/Users/{each.id}", _patch({"op": "replace", "path": "active", "value": False}))
        yield _gone("user gone", each.user_name, each.id, off, gone_before)
    mine = DirectoryGroup.objects.filter(directory=directory, deleted_at=None)
    for group in mine.exclude(id__in=_matched_groups(directory, listed)):
        yield _gone("group gone", group.display_name, group.id, ("DELETE", f"/Groups/{group.id}", {}), gone_before)


class _Users:
    def __init__(self, directory: Directory, listed: Listed) -> None:
        self._listed = listed
        rows = list(DirectoryUser.objects.filter(directory=directory, deleted_at=None).order_by("id"))
        by_name = {row.user_name_key: row for row in rows}
        self._rows = rows
        self.here = _matched(listed.users, rows, lambda body: by_name.get(folded(str(body.get("userName") or ""))))

    def gone(self) -> Iterator[DirectoryUser]:
        matched = {row.id for row in self.here.values()}
        return (row for row in self._rows if row.active and row.id not in matched)

    def differences(self) -> Iterator[Difference]:
        for their_id, body in self._listed.users.items():
            try:
                said = kept_body(as_pushed("/Users", body))
            except (SCIMException, RecursionError):
                yield Difference("user unreadable", str(body.get("userName") or their_id), {})
                continue
            row = self.here.get(their_id)
            found = self._not_here(their_id, said) if row is None else self._otherwise(row, said)
            yield from found

    def _not_here(self, their_id: str, said: Body) -> Iterable[Difference]:
        if said.get("active") is False:
            return
        body = {"schemas": [CORE_USER], **said, "externalId": said.get("externalId") or their_id}
        yield Difference("user not here", said["userName"], {}, (("POST", "/Users", self._with_manager(body, {})),))

    def _otherwise(self, row: DirectoryUser, said: Body) -> Iterable[Difference]:
        said = self._with_manager({**said, "externalId": row.external_id or said.get("externalId", "")}, row.body)
        is_active = said.get("active", True)
        fields = _fields_that_differ(row.body, said)
        if not fields and is_active == row.active:
            return
        what = "user differs" if is_active == row.active else "user active" if is_active else "user inactive"
        put = ("PUT", f"/Users/{row.id}", {"schemas": [CORE_USER], **said})
        yield Difference(what, row.user_name, {"fields": fields}, (put,), str(row.id))

    def _with_manager(self, said: Body, ours: Body) -> Body:
        """Their id of her manager as the one that is used here, whichever that is."""
        extension = said.get(ENTERPRISE) or {}
        value = (extension.get("manager") or {}).get("value")
        if not value:
            return said
        manager = self.here.get(str(value))
        known = {str(value), *((str(manager.id), manager.external_id) if manager else ())}
        kept = ((ours.get(ENTERPRISE) or {}).get("manager") or {}).get("value")
        named = kept if kept in known else str(manager.id) if manager else str(value)
        shown = (ours.get(ENTERPRISE) or {})["manager"] if kept in known else {"value": named}
        return {**said, ENTERPRISE: {**extension, "manager": shown}}


class _Groups:
    def __init__(self, directory: Directory, listed: Listed, users: _Users) -> None:
        self._listed, self._users = listed, users
        self._here = _group_rows(directory, listed)

    def differences(self) -> Iterator[Difference]:
        for their_id, body in self._listed.groups.items():
            try:
                name = str(kept_body(as_pushed("/Groups", body)).get("displayName") or "")
            except (SCIMException, RecursionError):
                name = ""
            members = self._members(body)
            if not name or members is None:
                yield Difference("group unreadable", name or their_id, {})
                continue
            row = self._here.get(their_id)
            yield from self._not_here(their_id, name, members) if row is None else self._otherwise(row, name, members)

    def _members(self, body: Body) -> set[str] | None:
        """Our ids of its users; who is not here yet comes with the look after. None if it cannot be read."""
        entries = body.get("members") or []
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            return None
        found = (self._users.here.get(str(each.get("value"))) for each in entries)
        return {str(row.id) for row in found if row is not None}

    def _not_here(self, their_id: str, name: str, members: set[str]) -> Iterable[Difference]:
        entries = [{"value": value} for value in sorted(members)]
        body = {"schemas": [CORE_GROUP], "displayName": name, "externalId": their_id, "members": entries}
        yield Difference("group not here", name, {"people": len(members)}, (("POST", "/Groups", body),))

    def _otherwise(self, row: DirectoryGroup, name: str, members: set[str]) -> Iterable[Difference]:
        path, about = f"/Groups/{row.id}", str(row.id)
        if name != row.display_name:
            rename = ("PATCH", path, _patch({"op": "replace", "path": "displayName", "value": name}))
            yield Difference("group differs", row.display_name, {"there": name[:LONGEST_SHOWN]}, (rename,), about)
        here = DirectoryMember.objects.filter(group=row).exclude(user=None).values_list("value", flat=True)
        ours = set(here)
        if members == ours:
            return
        added, removed = sorted(members - ours), sorted(ours - members)
        told = {"to_add": len(added), "to_remove": len(removed), "first": self._names([*added, *removed][:MOST_NAMED])}
        yield Difference("members differ", row.display_name, told, tuple(_moves(path, added, removed)), about)

    def _names(self, ids: Collection[str]) -> list[str]:
        return list(DirectoryUser.objects.filter(id__in=ids).order_by("id").values_list("user_name", flat=True))


def _moves(path: str, added: list[str], removed: list[str]) -> Iterator[tuple[str, str, Body]]:
    for kind, values in (("add", added), ("remove", removed)):
        for part in in_parts(values, MOST_IN_A_MESSAGE):
            value = [{"value": each} for each in part]
            yield "PATCH", path, _patch({"op": kind, "path": "members", "value": value})


def _patch(*operations: Body) -> Body:
    return {"schemas": [MESSAGES + "PatchOp"], "Operations": list(operations)}


def _gone(
    what: str, who: str, row_id: UUID, message: tuple[str, str, Body], gone_before: Collection[str]
) -> Difference:
    is_certain = str(row_id) in gone_before
    return Difference(what, who, {"looks": 2 if is_certain else 1}, (message,) if is_certain else (), str(row_id))


def _group_rows(directory: Directory, listed: Listed) -> dict[str, DirectoryGroup]:
    rows = list(DirectoryGroup.objects.filter(directory=directory, deleted_at=None).order_by("id"))
    by_name = {row.display_name_key: row for row in rows}
    return _matched(listed.groups, rows, lambda body: by_name.get(folded(str(body.get("displayName") or ""))))


def _matched_groups(directory: Directory, listed: Listed) -> set[UUID]:
    return {row.id for row in _group_rows(directory, listed).values()}


def _matched(theirs: Mapping[str, Body], rows: Iterable[Any], by_name: Callable[[Body], Any]) -> dict[str, Any]:
    """Their id -> our row: by their id as our external id, by their own external id, or by name; each row once."""
    by_external = {row.external_id: row for row in rows if row.external_id}
    found: dict[str, Any] = {}
    taken: set[UUID] = set()
    ways: tuple[Callable[[str, Body], Any], ...] = (
        lambda their_id, body: by_external.get(their_id),
        lambda their_id, body: by_external.get(str(body.get("externalId") or "")),
        lambda their_id, body: by_name(body),
    )
    for way in ways:
        for their_id, body in theirs.items():
            row = None if their_id in found else way(their_id, body)
            if row is not None and row.id not in taken:
                found[their_id] = row
                taken.add(row.id)
    return found


def _fields_that_differ(ours: Body, theirs: Body) -> list[str]:
    names = (ours.keys() | theirs.keys()) - {"schemas", "id", "meta", "active"}
    return sorted(name for name in names if (ours.get(name) or None) != (theirs.get(name) or None))
