"""The library's storage over the rows of one directory: it sees no other's, and writes by the verbs of governance."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast
from uuid import UUID

from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models import QuerySet
from scim2_models import (
    InvalidCursorException,
    InvalidValueException,
    NotFoundException,
    PreconditionFailedException,
    Resource,
    ResourceType,
    ResponseParameters,
    ScimFilter,
    ScimProvider,
    SearchRequest,
    TooManyException,
    UniquenessException,
)
from scim2_server.memory import _page
from scim2_server.storage import ScimStorage, SearchPage
from scim2_server.utils import parametrize

from gateway.scim import agents
from gateway.scim.filters import ANY, Narrowed, narrowed
from gateway.scim.rows import (
    Model,
    group_resource,
    groups_of,
    kept_body,
    member_values,
    members_of,
    told_of,
    user_resource,
    version_of,
)
from governance import directory_agents, directory_groups, directory_people
from governance.directory_agents import ToldAgent
from governance.directory_people import Told
from governance.directory_sync import NameTaken, Sync, UnknownMember
from governance.models import DirectoryAgent, DirectoryGroup, DirectoryUser

MOST_LOOKED_AT = 2_000
"""Rows that one search may have to look at one by one."""
LONGEST_TEXT = 300

Row = DirectoryUser | DirectoryGroup | DirectoryAgent
Parameters = ResponseParameters[Any] | None
ROWS: dict[str | None, type[Row]] = {"User": DirectoryUser, "Group": DirectoryGroup, agents.KIND: DirectoryAgent}
LOCKED_WITH: dict[str | None, tuple[str, ...]] = {
    "User": ("person__manager",),
    "Group": ("directory",),
    agents.KIND: ("agent__owner",),
}
"""What a change looks at beside the row."""


class DirectoryStorage(ScimStorage):
    """`enclosing` makes the transaction of one operation; without it every method has one of its own."""

    supports_cursors = True

    def __init__(self, provider: ScimProvider, sync: Sync, enclosing: Any = nullcontext) -> None:
        self._provider = provider
        self._enclosing = enclosing
        self.sync = sync

    def operation(self) -> AbstractContextManager[None]:
        return cast(AbstractContextManager[None], self._enclosing())

    # -- reading

    def get(
        self, resource_type: ResourceType, resource_id: str, *, response_parameters: Parameters = None
    ) -> Resource[Any]:
        row = self.row(resource_type, resource_id)
        return self._shown([row], resource_type, with_members=_wants(response_parameters, "members"))[0]

    def search(
        self, resource_types: list[ResourceType], search_request: SearchRequest[Any], *, position: Any = None
    ) -> SearchPage:
        if len(resource_types) == 1 and search_request.sort_by is None:
            found = self._narrowed(resource_types[0], search_request)
            if found.is_exact:
                return self._page_of_rows(resource_types[0], found, search_request, position)
        matching = [row for kind in resource_types for row in self._matching(kind, search_request)]
        return _page(search_request, position, matching)

    def row(self, resource_type: ResourceType, resource_id: str | None, *, to_change: bool = False) -> Row:
        """Raises NotFoundException."""
        rows = self._rows(resource_type)
        if to_change:
            rows = rows.select_for_update(of=("self",))
            rows = rows.select_related(*LOCKED_WITH[resource_type.name])
        try:
            found: Row = rows.get(id=UUID(str(resource_id)))
        except (ValueError, ObjectDoesNotExist):
            raise NotFoundException(detail=f"{resource_type.name} {resource_id!r} not found") from None
        return found

    def without_members(self, resource_type: ResourceType, row: Row) -> Resource[Any]:
        return self._shown([row], resource_type, with_members=False)[0]

    # -- writing

    @transaction.atomic
    def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        row: Row
        with refused_as_scim_says():
            if _is_agent(resource_type):
                row = directory_agents.agent_arrives(_checked_agent(resource), self.sync)
            elif _is_group(resource_type):
                name, body = _group_of(resource)
                row = directory_groups.group_arrives(name, body.get("externalId", ""), body, self.sync)
                members, nested = member_values(resource)
                directory_groups.change_members(row, add=members, nested=nested, sync=self.sync)
            else:
                row = directory_people.arrives(_checked(told_of(resource)), self.sync)
                return user_resource(self._model(resource_type), row)
        return self._whole(row, resource_type)

    @transaction.atomic
    def update(
        self, resource_type: ResourceType, resource: Resource[Any], *, expected_version: str | None = None
    ) -> Resource[Any]:
        row = self.row(resource_type, resource.id, to_change=True)
        _check_version(row, expected_version)
        with refused_as_scim_says():
            if isinstance(row, DirectoryGroup):
                name, body = _group_of(resource)
                directory_groups.group_changes(row, name, body.get("externalId", ""), body, self.sync)
                members, nested = member_values(resource)
                directory_groups.replace_members(row, members, nested=nested, sync=self.sync)
            elif isinstance(row, DirectoryAgent):
                directory_agents.agent_changes(row, _checked_agent(resource), self.sync)
            else:
                directory_people.changes(row, _checked(told_of(resource)), self.sync)
        return self._whole(row, resource_type)

    @transaction.atomic
    def delete(self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None) -> None:
        row = self.row(resource_type, resource_id, to_change=True)
        _check_version(row, expected_version)
        if isinstance(row, DirectoryGroup):
            directory_groups.group_is_deleted(row, self.sync)
        elif isinstance(row, DirectoryAgent):
            directory_agents.agent_is_deleted(row, self.sync)
        else:
            directory_people.is_deleted(row, self.sync)

    # -- finding

    def _rows(self, resource_type: ResourceType) -> QuerySet[Any]:
        mine = {"directory_id": self.sync.directory.id, "deleted_at": None}
        return cast(QuerySet[Any], ROWS[resource_type.name].objects.filter(**mine).order_by("id"))

    def _narrowed(self, resource_type: ResourceType, search: SearchRequest[Any]) -> Narrowed:
        if search.filter is None:
            return Narrowed(ANY.which, is_exact=True)
        return narrowed(search.filter.ast, ROWS[resource_type.name])

    def _page_of_rows(
        self, kind: ResourceType, found: Narrowed, search: SearchRequest[Any], position: Any
    ) -> SearchPage:
        rows = self._rows(kind).filter(found.which)
        if search.count == 0:
            return SearchPage(rows.count(), [])
        page = SearchPage(None, [])
        if search.cursor is None:
            chosen, page.total = _from_place(rows, search.start_index_0 or 0, search.count)
        else:
            chosen, page.total = _beside(rows, position, search.count, page), rows.count()
        page.resources = self._shown(chosen, kind, with_members=_wants(search, "members"))
        return page

    def _matching(self, kind: ResourceType, search: SearchRequest[Any]) -> list[Resource[Any]]:
        """Raises TooManyException rather than looking at all people of a large organisation one by one."""
        found = self._narrowed(kind, search)
        rows = list(self._rows(kind).filter(found.which)[: MOST_LOOKED_AT + 1])
        if len(rows) > MOST_LOOKED_AT:
            raise TooManyException(
                detail=f"That takes a look at more than {MOST_LOOKED_AT} resources. Filter by userName, externalId, "
                "emails, displayName or meta.lastModified."
            )
        needs_members = _wants(search, "members") or "members" in str(search.filter or "").lower()
        shown = self._shown(rows, kind, with_members=needs_members)
        if search.filter is None or found.is_exact:
            return shown
        model: Any = self._model(kind)
        bound = search.filter if search.filter.models else parametrize(ScimFilter, model)(str(search.filter))
        return [resource for resource in shown if bound.match(resource)]

    # -- showing

    def _model(self, resource_type: ResourceType) -> Model:
        return cast(Model, self._provider.model_for(resource_type))

    def _whole(self, row: Row, resource_type: ResourceType) -> Resource[Any]:
        return self._shown([row], resource_type, with_members=True)[0]

    def _shown(self, rows: Iterable[Row], kind: ResourceType, *, with_members: bool) -> list[Resource[Any]]:
        model, chosen = self._model(kind), list(rows)
        if _is_group(kind):
            members = members_of([row.id for row in chosen]) if with_members else {}
            return [group_resource(model, cast(DirectoryGroup, row), members.get(row.id, ())) for row in chosen]
        if _is_agent(kind):
            return [agents.agent_resource(model, cast(DirectoryAgent, row)) for row in chosen]
        groups = groups_of([row.id for row in chosen])
        return [user_resource(model, cast(DirectoryUser, row), groups[row.id]) for row in chosen]


@contextmanager
def refused_as_scim_says() -> Iterator[None]:
    try:
        with agents.refused_as_scim_says():
            yield
    except NameTaken:
        raise UniquenessException from None
    except UnknownMember as unknown:
        raise InvalidValueException(detail=f"There is no user {unknown} here yet.") from None


def _is_agent(resource_type: ResourceType) -> bool:
    return resource_type.name == agents.KIND


def _is_group(resource_type: ResourceType) -> bool:
    return resource_type.name == "Group"


def _group_of(resource: Resource[Any]) -> tuple[str, dict[str, Any]]:
    body = kept_body(resource)
    name = str(body.get("displayName") or "")
    if not name:
        raise InvalidValueException(detail="A group needs a displayName.")
    _check_lengths(name, str(body.get("externalId", "")))
    return name, body


def _checked_agent(resource: Resource[Any]) -> ToldAgent:
    told = agents.told_of_agent(resource)
    _check_lengths(told.user_name, told.external_id, told.display_name)
    return told


def _checked(told: Told) -> Told:
    _check_lengths(told.user_name, told.external_id, told.display_name, *told.emails)
    if len(told.manager_ref) > 100 or len(told.email) > LONGEST_TEXT:
        raise InvalidValueException(detail="The manager's id is too long.")
    return told


def _check_lengths(*texts: str) -> None:
    if any(len(text) > LONGEST_TEXT for text in texts):
        raise InvalidValueException(detail=f"Names, ids and addresses have at most {LONGEST_TEXT} characters.")


def _check_version(row: Row, expected: str | None) -> None:
    if expected is not None and version_of(row) != expected:
        raise PreconditionFailedException


def _from_place(rows: QuerySet[Any], start: int, count: int | None) -> tuple[list[Row], int]:
    """A page and how many there are; who asks for one by name is told without counting."""
    chosen = list(rows[start : None if count is None else start + count])
    is_last = (chosen or not start) and (count is None or len(chosen) < count)
    return chosen, start + len(chosen) if is_last else rows.count()


def _beside(rows: QuerySet[Any], position: Any, count: int | None, page: SearchPage) -> list[Row]:
    """The page after or before a row, by id; whether that row is still there does not matter."""
    direction, anchor = _read_position(position)
    limit = count or 0
    if direction == "previous":
        chosen = list(reversed(rows.filter(id__lt=anchor).order_by("-id")[:limit]))
    else:
        chosen = list((rows.filter(id__gt=anchor) if anchor else rows)[:limit])
    if chosen:
        if rows.filter(id__gt=chosen[-1].id).exists():
            page.next = {"d": "next", "i": str(chosen[-1].id)}
        if rows.filter(id__lt=chosen[0].id).exists():
            page.previous = {"d": "previous", "i": str(chosen[0].id)}
    return chosen


def _read_position(position: Any) -> tuple[str, UUID | None]:
    if position is None:
        return "next", None
    try:
        return str(position["d"]), UUID(position["i"])
    except (TypeError, KeyError, ValueError):
        raise InvalidCursorException from None


def _wants(parameters: Any, attribute: str) -> bool:
    """Whether the answer will hold the attribute."""
    if parameters is None:
        return True
    wanted, unwanted = parameters.attributes, parameters.excluded_attributes
    if wanted:
        return any(_is_of(path, attribute) for path in wanted)
    return not any(str(path).rpartition(":")[2].lower() == attribute for path in unwanted or ())


def _is_of(path: Any, attribute: str) -> bool:
    return str(path).rpartition(":")[2].partition(".")[0].lower() == attribute
