"""Agents, their keys, and the roles that give them something."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.api.fields import Choice, Parameters, Row, Text
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import (
    Act,
    Changed,
    Created,
    Deleted,
    Listed,
    Retrieved,
    Under,
    act,
    by_state,
    refuse_changes,
)
from gateway.api.serializers.agents import AgentRow, CredentialRow, IssuedKey, IssueKey, RoleRow, Transfer
from governance.agent_keys import (
    NotIssuable,
    Successor,
    issue_key,
    live,
    register_public_key,
    register_workload,
    retire_agent,
    revoke_key,
)
from governance.agents import CannotTransfer, resume_agent, suspend_agent, transfer_agent
from governance.models import Agent, AgentCredential, Role
from governance.public_keys import UnusableKey, read_public_key
from governance.rotation import terms


class AgentParameters(Parameters):
    name = Text(required=False, max_length=63)
    owner = Text(source="owner__email", required=False, max_length=254)
    status = Choice(choices=Agent.Status.choices, required=False)
    role = Text(source="roles__name", required=False, max_length=63)


class Agents(Listed, Retrieved, Created, Changed):
    """Agents are retired, never deleted: evidence names them."""

    queryset = Agent.objects.select_related("owner").prefetch_related("roles")
    serializer_class = AgentRow
    parameters = AgentParameters
    own = "owner"
    fixed = ("name",)

    def store(self, serializer: Row, act: Act) -> Any:
        if serializer.instance is not None:
            refuse_changes(serializer, ("owner",), "Hand it over by POST agents/{id}/transfer.")
        return serializer.save()

    @act("governance.change_agent")
    def suspend(self, request: Request, pk: Any) -> Response:
        """Every call is refused until it is resumed; its keys stay."""

        def work(agent: Agent, act: Act, _: Mapping[str, Any]) -> None:
            if not suspend_agent(agent, record=act.record):
                raise Problem("conflict", f"{agent.name} is not live ({agent.status}).")

        return self.on_row(work)

    @act("governance.change_agent")
    def resume(self, request: Request, pk: Any) -> Response:
        """A suspended agent is live again."""

        def work(agent: Agent, act: Act, _: Mapping[str, Any]) -> None:
            if not resume_agent(agent, record=act.record):
                raise Problem("conflict", f"{agent.name} is not suspended ({agent.status}).")

        return self.on_row(work)

    @act("governance.retire_agent")
    def retire(self, request: Request, pk: Any) -> Response:
        """Ends the agent and all its keys, for good."""

        def work(agent: Agent, act: Act, _: Mapping[str, Any]) -> None:
            if agent.status == Agent.Status.RETIRED:
                raise Problem("conflict", f"{agent.name} is retired already.")
            retire_agent(agent, by=act.by, record=act.record, now=act.now)

        return self.on_row(work)

    @act("governance.transfer_agent", takes=Transfer)
    def transfer(self, request: Request, pk: Any) -> Response:
        """Gives it another answerable owner. Its keys end unless the request says otherwise."""

        def work(agent: Agent, act: Act, wish: Mapping[str, Any]) -> None:
            ends_keys = not wish["keeps_keys"]
            try:
                transfer_agent(agent, to=wish["to"], ends_keys=ends_keys, by=act.by, record=act.record, now=act.now)
            except CannotTransfer as reason:
                raise Problem("conflict", str(reason)) from None

        return self.on_row(work)


class CredentialParameters(Parameters):
    agent = Text(source="agent__name", required=False, max_length=63)
    kind = Choice(choices=AgentCredential.Kind.choices, required=False)
    state = Choice(choices=("live", "expired", "revoked"), required=False)


class Credentials(Listed, Retrieved):
    """Agent keys. The key itself is shown once, in the answer that issues it, and kept nowhere."""

    queryset = AgentCredential.objects.select_related("agent", "person", "use")
    serializer_class = CredentialRow
    parameters = CredentialParameters
    order = ("-created_at", "id")
    own = "agent__owner"

    def narrowed(self, rows: QuerySet[Any], filters: Mapping[str, Any]) -> QuerySet[Any]:
        return by_state(rows, dict(filters), now=datetime.now(UTC))

    @act("governance.revoke_agentcredential")
    def revoke(self, request: Request, **_: Any) -> Response:
        """When this answers, no gateway can start a call with the key. It cannot be undone."""
        return self.on_row(lambda row, act, _: revoke_key(row, by=act.by, record=act.record, now=act.now))


class AgentCredentials(Credentials):
    under = Under("agent_id", "agent", Agent.objects.select_related("owner"), own="owner")
    permissions = {"create": "governance.issue_agentcredential"}

    @extend_schema(request=IssueKey, responses={201: IssuedKey})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Issues a key or client secret, or registers a public key. Others of the agent stay as they are, but for the
        one that it rotates: that ends by itself after the overlap."""

        def work(act: Act) -> Response:
            row, key = _made(self.above, self.wish(IssueKey), act)
            shown = {"agent": row.agent.name, "kind": row.kind, "key": key, "key_id": row.pk}
            location = f"{request.path}/{row.pk}"
            answer = IssuedKey({**shown, "expires_at": row.expires_at}).data
            return Response(answer, status=201, headers={"Location": location})

        return self.governed(work, shown_once=("key",))


def _made(agent: Agent, wish: Mapping[str, Any], act: Act) -> tuple[AgentCredential, str | None]:
    expires_at, old = wish.get("expires_at"), _rotated(agent, wish, act)
    acts: dict[str, Any] = {
        "by": act.by,
        "record": act.record,
        "now": act.now,
        "expires_at": expires_at,
        "label": wish["label"],
        "follows": old,
    }
    try:
        if "workload" in wish:
            return _recognised(agent, wish, act), None
        if "public_key" in wish:
            return register_public_key(agent, read_public_key(wish["public_key"]), **acts), None
        person = wish.get("on_behalf_of") or (old.rotates.person if old else None)
        kind = wish.get("kind") or (old.rotates.kind if old else AgentCredential.Kind.KEY)
        issued = issue_key(agent, person=person, kind=kind, **acts)
    except UnusableKey as reason:
        raise of_fields([FieldError("public_key", "rule", str(reason))]) from None
    except NotIssuable as reason:
        field = "expires_at" if expires_at and expires_at <= act.now else ""
        raise of_fields([FieldError(field, "rule", str(reason))]) from None
    return issued.credential, issued.key


def _recognised(agent: Agent, wish: Mapping[str, Any], act: Act) -> AgentCredential:
    """Raises NotIssuable."""
    issuer, claims = wish["workload"]["issuer"], wish["workload"]["claims"]
    return register_workload(
        agent,
        issuer=issuer.issuer,
        claims=claims,
        hint=issuer.name,
        label=wish["label"],
        by=act.by,
        record=act.record,
        now=act.now,
        expires_at=wish.get("expires_at"),
    )


def _rotated(agent: Agent, wish: Mapping[str, Any], act: Act) -> Successor | None:
    if "rotates" not in wish:
        return None
    old = (
        AgentCredential.objects.filter(live(act.now), pk=wish["rotates"], agent=agent).select_related("person").first()
    )
    if old is None or (old.kind == AgentCredential.Kind.PUBLIC_KEY) != ("public_key" in wish):
        raise of_fields([FieldError("rotates", "does_not_exist", "There is no live credential like this.")])
    hours = wish.get("overlap_hours")
    return Successor(old, terms().overlap if hours is None else timedelta(hours=hours))


class RoleParameters(Parameters):
    name = Text(required=False, max_length=63)
    bundle = Text(source="bundles__name", required=False, max_length=63)
    agent = Text(source="agents__name", required=False, max_length=63)


class Roles(Listed, Retrieved, Created, Changed, Deleted):
    """Who gets which bundles, and when."""

    queryset = Role.objects.prefetch_related("bundles", "agents", "teams", "people")
    serializer_class = RoleRow
    parameters = RoleParameters
