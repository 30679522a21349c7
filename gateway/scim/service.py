"""The protocol as we serve it: what is announced, how tolerant we are, and the library's steps where ours differ.

The only module that builds the library's service. Importing it takes most of a second, so it is asked for by name when
the first message of a directory comes (gateway/scim/door.py).
"""

import hashlib
from functools import cache
from typing import Any, Union, cast

import orjson
from django.conf import settings
from scim2_models import (
    Bulk,
    BulkRequest,
    BulkResponse,
    ETag,
    Filter,
    ListResponse,
    Pagination,
    PatchOp,
    Resource,
    ResourceType,
    ResponseParameters,
    ScimPolicy,
    ScimProvider,
    SearchRequest,
    Sort,
)
from scim2_models import ChangePassword as PasswordChange
from scim2_server.conditions import Conditions
from scim2_server.handler import ScimHandler
from scim2_server.service import ScimService
from scim2_server.utils import load_default_provider, parametrize

from gateway.scim.agents import RESOURCE_TYPE, AgentResource
from gateway.scim.answers import MEDIA_TYPE
from gateway.scim.members import Plan, plan_of
from gateway.scim.storage import DirectoryStorage, refused_as_scim_says
from gateway.scim.wire import understood
from governance import directory_groups
from governance.models import DirectoryGroup

MOST_OPERATIONS = 200
MOST_BYTES = 1024 * 1024
LARGEST_PAGE = 500

TOLERANT = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)


def provider_with(policy: ScimPolicy, *, agents: bool = False) -> ScimProvider:
    plain = load_default_provider()
    assert plain.config is not None
    config = plain.config.model_copy(
        update={
            "bulk": Bulk(supported=True, max_operations=MOST_OPERATIONS, max_payload_size=MOST_BYTES),
            "filter": Filter(supported=True, max_results=LARGEST_PAGE),
            "sort": Sort(supported=True),
            "etag": ETag(supported=True),
            "change_password": PasswordChange(supported=False),
            "pagination": Pagination(
                cursor=True,
                index=True,
                default_pagination_method=Pagination.DefaultPaginationMethod.index,
                default_page_size=100,
                max_page_size=LARGEST_PAGE,
                cursor_timeout=3600,
            ),
        }
    )
    if not agents:
        return ScimProvider(plain.models, plain.resource_types, config=config, policy=policy)
    models, kinds = [*plain.models, AgentResource], [*plain.resource_types, RESOURCE_TYPE]
    return ScimProvider(models, kinds, config=config, policy=policy)


@cache
def service(*, agents: bool = False) -> ScimService:
    """With the agent resource or without: what a directory may not use, it does not see announced."""
    secret = hashlib.sha256(b"gatehouse scim cursors" + settings.SECRET_KEY.encode()).hexdigest()
    served = ScimService(provider_with(TOLERANT, agents=agents), secret=secret)
    KEPT.extend(_messages_of(served))
    return served


def as_pushed(endpoint: str, body: dict[str, Any]) -> Resource[Any]:
    """What a PUT of it would say. Raises SCIMException."""
    with service().provider:
        kind = service().resource_type_at(endpoint)
        return service().read_replacement(kind, orjson.dumps(understood("PUT", body)), MEDIA_TYPE)


KEPT: list[Any] = []
"""The library makes a class for each kind of message, and makes it anew each time once nobody holds it: that took
three quarters of the time of a search."""


def _messages_of(served: ScimService) -> list[Any]:
    models = served.get_models()
    each = [parametrize(kind, model) for kind in (SearchRequest, PatchOp, ResponseParameters) for model in models]
    anything: Any = Union[tuple(models)]  # noqa: UP007 - of a tuple
    return [*each, *(parametrize(kind, anything) for kind in (ListResponse, SearchRequest, BulkRequest, BulkResponse))]


class DirectoryHandler(ScimHandler):
    """For one message. `answers_whole` is a request that names attributes: it wants the whole resource back."""

    storage: DirectoryStorage

    def __init__(self, service: ScimService, storage: DirectoryStorage, *, answers_whole: bool = False) -> None:
        super().__init__(service, storage)
        self._answers_whole = answers_whole

    def replace_resource(
        self, resource_type: ResourceType, current: Resource[Any], replacement: Resource[Any], conditions: Conditions
    ) -> Resource[Any]:
        """A group replaced without a word about its members keeps them: only an empty list empties it."""
        group = cast(Any, replacement)
        if resource_type.name == "Group" and group.members is None and "members" not in group.model_fields_set:
            group.members = cast(Any, current).members
        return super().replace_resource(resource_type, current, replacement, conditions)

    def patch_resource(
        self, resource_type: ResourceType, resource_id: str, patch_op: "PatchOp[Any]", conditions: Conditions
    ) -> Resource[Any]:
        if resource_type.name == "Group" and not self._answers_whole:
            plan = plan_of(patch_op, resource_id)
            if plan is not None:
                return self._change_group(resource_type, resource_id, plan, conditions)
        return super().patch_resource(resource_type, resource_id, patch_op, conditions)

    def _change_group(
        self, resource_type: ResourceType, group_id: str, plan: Plan, conditions: Conditions
    ) -> Resource[Any]:
        row = cast(DirectoryGroup, self.storage.row(resource_type, group_id, to_change=True))
        self.service.check_preconditions(self.storage.without_members(resource_type, row), "PATCH", conditions)
        sync = self.storage.sync
        with refused_as_scim_says():
            if changed := {key: name for key, name in plan.names.items() if row.body.get(key) != name}:
                body = {**row.body, **changed}
                name = plan.names.get("displayName", row.display_name)
                directory_groups.group_changes(row, name, body.get("externalId", ""), body, sync)
            if plan.replaces:
                directory_groups.replace_members(row, plan.add, nested=plan.nested, sync=sync)
            else:
                directory_groups.change_members(row, add=plan.add, remove=plan.remove, nested=plan.nested, sync=sync)
        return self.storage.without_members(resource_type, row)
