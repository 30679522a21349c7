"""Why a call would be permitted or denied, and what would change it: the pipeline's own decision, told whole.

No call is made.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from ipaddress import ip_address
from itertools import islice
from typing import Any

from gateway.explain_remedies import frozen_thing, remedies, when
from gateway.explain_rules import WHY, Trace
from gateway.explain_values import (
    OUTCOMES,
    SCOPE_OUTCOMES,
    Asked,
    Considered,
    Detection,
    Explanation,
    Frozen,
    GivenBy,
    Masked,
    Path,
    Remedy,
    Rested,
)
from gateway.explain_words import words
from governance.approvers import Subject, eligible
from governance.decision import AccessRequest, Ask, Decision, best, decide
from governance.inspection.digest import pack_digest
from governance.models import Tool as ToolRow
from governance.snapshot import Agent, Bundle, Person, Role, Snapshot, Tool
from governance.snapshot_builder import build_snapshot

MOST_APPROVERS = 20
TARGET = re.compile(r"(?:([a-z0-9][a-z0-9-]*)/)?(resource|prompt):(.*)", re.DOTALL)
"""A resource or prompt, perhaps behind its connector's name."""


class NotExplainable(Exception):
    """The agent, tool or person does not exist at all, or the address is none; the message says which."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Of the call that is explained. `arguments` is None where they are not known, `on_behalf_of` a person's e-mail,
    `source_ip` empty where nobody says. `labels` are those of the run; a fresh run has none."""

    arguments: Mapping[str, Any] | None = None
    on_behalf_of: str = ""
    labels: frozenset[str] = field(default=frozenset())
    source_ip: str = ""


def explain(agent_name: str, tool_name: str, around: Circumstances, *, at: datetime) -> Explanation:
    """As everything is now. Raises NotExplainable."""
    return explain_in(build_snapshot(), agent_name, tool_name, around, at=at)


def explain_in(
    snapshot: Snapshot, agent_name: str, tool_name: str, around: Circumstances, *, at: datetime
) -> Explanation:
    """Raises NotExplainable."""
    agent = next((agent for agent in snapshot.agents.values() if agent.name == agent_name), None)
    if agent is None:
        raise NotExplainable(f"There is no agent '{agent_name}'.")
    tools = _named(tool_name, snapshot)
    if not tools:
        raise NotExplainable(_why_no_tool(tool_name))
    question = _Question(snapshot, agent, around, at, _acted_for(around.on_behalf_of, snapshot))
    question.check_address()
    return question.explanation(tool_name, tools)


def _acted_for(email: str, snapshot: Snapshot) -> Person | None:
    if not email:
        return None
    found = next((person for person in snapshot.people.values() if person.email.lower() == email.lower()), None)
    if found is None:
        raise NotExplainable(f"There is nobody with the address '{email}'.")
    return found


def _named(name: str, snapshot: Snapshot) -> list[Tool]:
    """A tool's name, `resource:<uri>` or `prompt:<name>`; the latter two of every system that is not named before
    them, as nobody has a list."""
    if wanted := TARGET.fullmatch(name):
        connectors = [each for each in snapshot.connectors.values() if wanted[1] in (None, each.name)]
        targets = (snapshot.target(connector, wanted[2], wanted[3]) for connector in connectors)
        return [target for target in targets if target is not None]
    bundles = (*snapshot.bundles.values(), *snapshot.staged.values())
    exposed = {bundle.tools[name].id for bundle in bundles if name in bundle.tools}
    return [
        tool
        for tool in snapshot.tools.values()
        if tool.id in exposed
        or name in (tool.name, f"{tool.connector.name}/{tool.name}", f"{tool.connector.name}__{tool.name}")
    ]


def _why_no_tool(name: str) -> str:
    """A tool that is known but not served has its reason in its own row."""
    if TARGET.fullmatch(name):
        return f"'{name}' is no name that could be used."
    connector, _, tool = name.replace("__", "/", 1).rpartition("/")
    rows = ToolRow.objects.filter(name=tool, **({"connector__name": connector} if connector else {}))
    row = rows.select_related("connector").first()
    if row is None:
        return f"There is no tool '{name}'."
    if row.quarantined_at:
        return f"The tool '{name}' is in quarantine: {row.quarantine_reason or 'no reason was given'}."
    return f"The tool '{name}' has no pinned definition yet: it waits for review."


@dataclass(frozen=True)
class _Question:
    snapshot: Snapshot
    agent: Agent
    around: Circumstances
    at: datetime
    person: Person | None

    def check_address(self) -> None:
        """Raises NotExplainable."""
        if self.around.source_ip:
            try:
                ip_address(self.around.source_ip)
            except ValueError:
                raise NotExplainable(f"'{self.around.source_ip}' is no IP address.") from None

    def explanation(self, tool_name: str, tools: list[Tool]) -> Explanation:
        found = [self._path(bundle, tool) for tool in tools for bundle in self._bundles if bundle.holds(tool)]
        decision = best(decision for decision, _ in found)
        paths = tuple(replace(path, decides=each is decision) for each, path in found)
        code = decision.code if decision else "tool_unknown"
        is_denied = decision is None or decision.effect == "deny"
        explanation = Explanation(
            agent=self.agent.name,
            tool=tool_name,
            at=self.at,
            epoch=self.snapshot.epoch,
            decision=decision.effect.value if decision else "deny",
            code=code,
            reason=self._reason(decision),
            paths=paths,
            remedies=tuple(self._remedies(code, tools)) if is_denied else (),
            on_behalf_of=self.person.email if self.person else "",
            labels=tuple(sorted(self.around.labels)),
            source_ip=self.around.source_ip,
            detection=self._detection(tools),
            words=(),
        )
        return replace(explanation, words=tuple(words(explanation)))

    def _reason(self, decision: Decision | None) -> str:
        code = decision.code if decision else "tool_unknown"
        if code == "tool_unknown" and self.person is not None:
            return f"{self.agent.name} and {self.person.email}, for whom it acts, do not both have it"
        if code == "approved":
            return "a rule asks for a human, and a grant answers it"
        told = decision.reason if decision else ""
        return WHY.get(code) or told or "the agent holds the tool and no rule objects"

    def _detection(self, tools: list[Tool]) -> Detection:
        here = {tool.id for tool in tools} | {tool.connector.id for tool in tools}
        here |= {bundle.id for bundle in self._bundles if any(bundle.holds(tool) for tool in tools)}
        exceptions = sorted(
            each.name
            for each in self.snapshot.exceptions
            if self.at < each.ends_at and not here.isdisjoint((each.tool_id, each.connector_id, each.bundle_id))
        )
        return Detection(pack_digest(), tuple(sorted(self.snapshot.detection_off)), tuple(exceptions))

    @cached_property
    def _bundles(self) -> list[Bundle]:
        """Each in the version that counts for the agent."""
        ids = {**self.snapshot.bundles, **self.snapshot.staged}
        found = (self.snapshot.bundle_for(self.agent, bundle_id) for bundle_id in ids)
        return sorted((bundle for bundle in found if bundle is not None), key=lambda bundle: bundle.name)

    def _remedies(self, code: str, tools: list[Tool]) -> Iterator[Remedy]:
        return remedies(code, self.agent, tools, self.snapshot, person=self.person, at=self.at)

    def _path(self, bundle: Bundle, tool: Tool) -> tuple[Decision, Path]:
        request = self._request(bundle, tool)
        decision = decide(request, self.snapshot, self.at)
        trace = Trace(request, decision, bundle, self.snapshot, self.at)
        given_by = tuple(self._given_by(bundle, tool, trace))
        passed_over = trace.passed_over(tool)
        path = Path(
            bundle=f"{bundle.name} v{bundle.number}",
            connector=tool.connector.name,
            roles=tuple(each.role for each in given_by if each.is_in_time and each.whose == "agent"),
            effect=decision.effect.value,
            code=decision.code,
            reason=self._reason(decision),
            rules=tuple(rule.as_json() for rule in decision.rules),
            considered=tuple(trace.considered()),
            decides=False,
            is_staged=bundle is not self.snapshot.bundles.get(bundle.id),
            given_by=given_by,
            asks=tuple(self._asked(ask, tool) for ask in decision.asks),
            grants=tuple(self._rested(grant) for grant in decision.grants),
            masks=tuple(Masked(mask.rule, mask.fields) for mask in decision.masks),
            freezes=tuple(self._freezes(tool)),
            passed_over=passed_over.nearest,
            passed_over_count=passed_over.count,
            reads_labels=decision.reads_labels,
            valid_until=decision.valid_until,
        )
        return decision, path

    def _request(self, bundle: Bundle, tool: Tool) -> AccessRequest:
        return AccessRequest(
            agent_id=self.agent.id,
            credential_id="",
            tool_id=tool.id,
            bundle_id=bundle.id,
            arguments={"uri": tool.upstream_name} if tool.kind == "resource" else self.around.arguments,
            source_ip=self.around.source_ip,
            target=tool if tool.kind != "tool" else None,
            person_id=self.person.id if self.person else "",
            labels=self.around.labels,
        )

    # -- what the decision rests on

    def _given_by(self, bundle: Bundle, tool: Tool, trace: Trace) -> Iterator[GivenBy]:
        subjects: tuple[tuple[str, Agent | Person | None], ...] = (("agent", self.agent), ("person", self.person))
        for whose, subject in subjects:
            for role in self.snapshot.roles_of(subject) if subject else ():
                if role.gives(bundle.id, tool.id):
                    yield self._given(role, whose, trace)

    def _given(self, role: Role, whose: str, trace: Trace) -> GivenBy:
        return GivenBy(
            role=role.name,
            whose=whose,
            times=when(role),
            is_in_time=role.is_in_time(self.at, self.snapshot.calendar),
            grant=role.grant_id,
            ends_at=role.ends_at,
            scopes=tuple(trace.scopes(role)),
        )

    def _asked(self, ask: Ask, tool: Tool) -> Asked:
        subject = Subject(
            asked_at=self.at,
            agent_id=self.agent.id,
            owner_id=self.agent.owner.id,
            person_id=self.person.id if self.person else "",
            connector_id=tool.connector.id,
        )
        people = self.snapshot.people.items()
        able = sorted(p.email for i, p in people if eligible(ask.terms, subject, i, self.snapshot, self.at))
        return Asked(
            rule=ask.rule,
            reason=ask.reason,
            needed=ask.terms.count,
            approvers=tuple(islice(able, MOST_APPROVERS)),
            able=len(able),
            pending_seconds=ask.terms.pending,
            use_within_seconds=ask.terms.use_within,
        )

    def _rested(self, grant_id: str) -> Rested:
        grant = self.snapshot.grants[grant_id]
        people = self.snapshot.people
        holder = people.get(grant.person_id)
        return Rested(
            id=grant.id,
            kind=grant.kind,
            holder=holder.email if holder else self.agent.name,
            ends_at=grant.ends_at,
            is_counted=grant.is_counted,
            agreed=tuple(people[person].email for person in grant.approvers if person in people),
        )

    def _freezes(self, tool: Tool) -> Iterator[Frozen]:
        for freeze in self.snapshot.freezes:
            if freeze.covers(self.agent, tool, self.at):
                yield Frozen(frozen_thing(freeze), freeze.reason, freeze.ends_at)


__all__ = (
    "OUTCOMES",
    "SCOPE_OUTCOMES",
    "Circumstances",
    "Considered",
    "Explanation",
    "NotExplainable",
    "Path",
    "Remedy",
    "explain",
    "explain_in",
    "when",
)
