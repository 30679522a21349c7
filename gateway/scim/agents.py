"""The agent resource of draft-wzdk-scim-agent-resource-00, which is a draft: served where a directory is told so."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

from scim2_models import (
    URN,
    CaseExact,
    ComplexAttribute,
    InvalidValueException,
    Mutability,
    MutabilityException,
    Required,
    Resource,
    ResourceType,
    Uniqueness,
)

from gateway.scim.rows import kept_body, version_of
from gateway.scim.wire import CORE_AGENT
from governance.directory_agents import NameIsFixed, ToldAgent, UnknownOwner, UnusableName
from governance.models import DirectoryAgent

KIND = "Agent"
LONGEST_DESCRIPTION = 4_000
MOST_OWNERS = 20


class AgentOwner(ComplexAttribute):
    value: Annotated[str | None, Required.true, CaseExact.true] = None
    """The id of a User here."""

    display: str | None = None


class AgentResource(Resource[Any]):
    __schema__ = URN(CORE_AGENT)

    agent_user_name: Annotated[str | None, Required.true, Uniqueness.server, Mutability.immutable] = None
    """Lower-case letters, digits and hyphens; it never changes."""

    display_name: str | None = None
    description: str | None = None
    active: bool | None = None
    owners: list[AgentOwner] | None = None
    """The first who is a live person of the directory answers for the agent."""

    Owners: ClassVar[type[ComplexAttribute]] = AgentOwner


RESOURCE_TYPE = ResourceType.model_validate(
    {
        "id": KIND,
        "name": KIND,
        "endpoint": "/Agents",
        "description": "Agent (draft-wzdk-scim-agent-resource-00, experimental)",
        "schema": CORE_AGENT,
    }
)


def told_of_agent(resource: Resource[Any]) -> ToldAgent:
    """Raises InvalidValueException."""
    body = {"active": True, **kept_body(resource)}
    owners = tuple(str(owner.get("value") or "") for owner in body.get("owners", ()))
    description = str(body.get("description") or "")
    if len(description) > LONGEST_DESCRIPTION:
        raise InvalidValueException(detail=f"A description has at most {LONGEST_DESCRIPTION} characters.")
    if len(owners) > MOST_OWNERS:
        raise InvalidValueException(detail=f"An agent has at most {MOST_OWNERS} owners.")
    return ToldAgent(
        user_name=str(body.get("agentUserName") or ""),
        external_id=str(body.get("externalId") or ""),
        display_name=str(body.get("displayName") or ""),
        description=description,
        active=body["active"],
        owners=owners,
        body=body,
    )


def agent_resource(model: type[Resource[Any]], row: DirectoryAgent) -> Resource[Any]:
    meta = {
        "resourceType": KIND,
        "created": row.created_at,
        "lastModified": row.changed_at,
        "version": version_of(row),
    }
    return model.model_validate({**row.body, "id": str(row.id), "meta": meta})


@contextmanager
def refused_as_scim_says() -> Iterator[None]:
    try:
        yield
    except UnknownOwner:
        detail = "owners: name at least one user of this directory who is active here; she answers for the agent."
        raise InvalidValueException(detail=detail) from None
    except UnusableName as problem:
        raise InvalidValueException(detail=f"agentUserName: {problem}") from None
    except NameIsFixed:
        raise MutabilityException(
            detail="agentUserName: it never changes. Delete the agent and make another."
        ) from None
