"""The immutable view that decisions read: everything governed, compiled for one epoch.

Built by `snapshot_builder.py`; here are only its shapes and the questions it answers from memory.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from governance.answers import settled_screens
from governance.approvers import Subject, eligible
from governance.conditions import Condition
from governance.holdings import Holding, conditions_of, looked_for, questions, scopes_of
from governance.inspection.class_description import DataClass
from governance.networks import Networks
from governance.snapshot_values import (
    NOBODY,
    STANDARD,
    WILD,
    Account,
    Agent,
    AllowedPattern,
    Baseline,
    Bundle,
    Connector,
    Credential,
    Edition,
    Freeze,
    Grant,
    OutsideDetector,
    Person,
    Pick,
    Program,
    RateLimit,
    Reaction,
    Role,
    Rule,
    RuleIndex,
    Scope,
    SealedCanary,
    SealedSecret,
    Selection,
    Shifts,
    Team,
    Tool,
    Undecidable,
    matcher,
    matches_any,
    names_of,
)
from governance.time_of_day import Calendar

HOLDINGS_KEPT = 10_000
"""Of tools, and of resources and prompts, that a snapshot remembers: agents choose the names of the latter, and even of
the former there are too many once each agent has called each tool it holds."""
LONG_AGO = datetime.min.replace(tzinfo=UTC)
"""What was asked then has escalated: of a consent only the call it came from knows when it was asked for."""
TARGET_LIMIT = 2_000
"""Characters of a URI or a prompt's name."""
ENCODED_UNRESERVED = re.compile(r"%(4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe]|3[0-9]|2[DdEe])")
"""`%41` is `A`: RFC 3986 section 6.2.2.2 says that the two are the same, a glob does not."""
DECODINGS = 4
"""How often something behind the upstream may decode a URI once more."""
SCHEME = re.compile(r"[a-z0-9][a-z0-9+.-]*:")
WEB = re.compile(r"https?:")
WEB_HOST = re.compile(
    r"https?://(?:(?:[a-z0-9_.-]|\{[^{}/?#]*\})+(?<!\.)|\[[0-9a-f:.]+\])(?::(?!(?:80|443)\b)[1-9][0-9]*)?(?:[/?#]|\Z)"
)
"""Of a web address. Its host has no capitals, no user before it, no dot at its end, no usual port and no other script:
each would spell the same host once more. A template may have a variable there."""


HoldingKey = tuple[str, str, str, str]
"""Ids of agent, bundle version, tool (or connector) and the person it acts for."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    epoch: int
    calendar: Calendar
    organization: str
    credentials: Mapping[bytes, Credential] = field(repr=False)
    """Agent keys, by digest."""
    credential_ends: Mapping[str, datetime]
    agents: Mapping[str, Agent]
    people: Mapping[str, Person]
    tools: Mapping[str, Tool]
    connectors: Mapping[str, Connector]
    secrets: tuple[SealedSecret, ...]
    bundles: Mapping[str, Bundle]
    bundle_ids: Mapping[str, str]
    team_rules: Mapping[str, tuple[Rule, ...]]
    team_policies: Mapping[str, frozenset[str]]
    """Team id -> read-set entries of its policies."""
    freezes: tuple[Freeze, ...]
    limits: tuple[RateLimit, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict, repr=False)
    """Policy id -> rules of its version in force, compiled; of no origin yet."""
    advanced_at: datetime | None = None
    """When the epoch took effect: with it, it names one moment of one history, even if a database is restored."""
    teams: Mapping[str, Team] = field(default_factory=dict, repr=False)
    editions: Mapping[str, Edition] = field(default_factory=dict, repr=False)
    """By bundle id."""
    organization_policies: frozenset[str] = frozenset()
    grants: Mapping[str, Grant] = field(default_factory=dict)
    """Those that are neither revoked nor long over."""
    reactions: tuple[Reaction, ...] = ()
    exceptions: tuple[AllowedPattern, ...] = ()
    """What inspection finds and rules pass over; some may be over."""
    detection_off: frozenset[str] = frozenset()
    """Detection rules that are switched off."""
    shifts: Mapping[str, Shifts] = field(default_factory=dict, repr=False)
    """Team id -> who is on call for it, by start; what is long over is left out."""
    networks: Networks = field(default_factory=Networks)
    accounts: Mapping[str, Account] = field(default_factory=dict, repr=False)
    """Connected accounts, by id."""
    agents_may_ask: bool = False
    """Whether agents find tools of ours by which they ask for access, and for how that stands."""
    staged_editions: Mapping[str, Edition] = field(default_factory=dict, repr=False)
    staged: Mapping[str, Bundle] = field(default_factory=dict, repr=False)
    """Bundle id -> its staged version: only for agents that name it, see `bundle_for`."""
    authorizations: frozenset[str] = frozenset()
    """Ids of those that have not ended: access tokens rest on them."""
    proofs: frozenset[str] = frozenset()
    """Ids of the agent credentials that are no keys and not revoked: the other access tokens rest on these."""
    retention: str = STANDARD
    """The retention class of bundles that name none."""
    erasures: int = 0
    """How many there have been: each ends keys that a process may have open."""
    ended_tokens: frozenset[str] = frozenset()
    """Ids of access tokens that were ended before their time."""
    data_classes: Mapping[str, DataClass] = field(default_factory=dict, repr=False)
    """By name."""
    detectors: Mapping[str, OutsideDetector] = field(default_factory=dict, repr=False)
    """By name."""
    canaries: tuple[SealedCanary, ...] = ()
    baselines: Mapping[str, Baseline] = field(default_factory=dict, repr=False)
    """By the id of the agent."""
    holds: tuple[Reaction, ...] = field(default=(), init=False, repr=False)
    """Those of the reactions by which a run that is held asks."""
    _holdings: dict[HoldingKey, Holding | None] = field(default_factory=dict, init=False, repr=False)
    _target_holdings: dict[HoldingKey, Holding | None] = field(default_factory=dict, init=False, repr=False)
    _target_reads: dict[HoldingKey, frozenset[str]] = field(default_factory=dict, init=False, repr=False)
    _read_sets: dict[tuple[frozenset[str], str], frozenset[str]] = field(default_factory=dict, init=False, repr=False)
    _freezes_by_agent: dict[str | None, list[Freeze]] = field(default_factory=dict, init=False, repr=False)
    _grants_of: dict[str, list[Grant]] = field(default_factory=dict, init=False, repr=False)
    """By the id of the agent or person."""
    _person_roles: dict[str, tuple[Role, ...]] = field(default_factory=dict, init=False, repr=False)
    _accounts_of: dict[tuple[str, str, str], Account] = field(default_factory=dict, init=False, repr=False)
    """By the ids of connector, client and person."""

    _looked_for: dict[str, bool] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for account in self.accounts.values():
            self._accounts_of[account.connector_id, account.upstream_client, account.person_id] = account
        holds = tuple(reaction for reaction in self.reactions if reaction.action == "hold_run")
        object.__setattr__(self, "holds", holds)
        for freeze in self.freezes:
            self._freezes_by_agent.setdefault(freeze.agent_id, []).append(freeze)
        for grant in self.grants.values():
            if self._stands(grant):
                self._grants_of.setdefault(grant.agent_id or grant.person_id, []).append(grant)

    @property
    def timezone(self) -> ZoneInfo:
        return self.calendar.timezone

    def _stands(self, grant: Grant) -> bool:
        """A grant ends with any of those who agreed to it."""
        agreed = [self.people.get(person) for person in grant.approvers]
        return all(person is not None and person.is_active for person in agreed)

    def target(self, connector: Connector, kind: str, name: str) -> Tool | None:
        """A resource or prompt as a value that decisions, rules and evidence treat like a tool. None for a name that
        could be read in two ways: globs must not be by-passed by another spelling."""
        if not 0 < len(name) <= TARGET_LIMIT or (kind == "resource" and not is_plainly_spelled(name)):
            return None
        return _rowless(connector, kind, name)

    # -- who is asking

    def standing(self, credential: Credential) -> Credential | None:
        """It as it is now; None once it, or what it rests on, was withdrawn. Says nothing of the time."""
        if not credential.rests_on:
            return self.credentials.get(credential.digest)
        kind, _, ground = credential.rests_on.partition(":")
        grounds = self.authorizations if kind == "authorization" else self.proofs
        return credential if ground in grounds and credential.id not in self.ended_tokens else None

    def looks_for(self, finding: str) -> bool:
        """Whether any rule might want to know of this finding, whoever it binds."""
        if finding not in self._looked_for:
            self._looked_for[finding] = any(rule.may_want(finding) for rule in self._all_rules())
        return self._looked_for[finding]

    def _all_rules(self) -> Iterator[Rule]:
        bundles = chain(self.bundles.values(), self.staged.values())
        yield from chain.from_iterable(
            (*self.team_rules.values(), *self.rules.values(), *(bundle.rules for bundle in bundles))
        )

    # -- who holds what

    def roles_of(self, subject: Agent | Person) -> tuple[Role, ...]:
        """With those that grants stand for, whether in their time or not. A person's: directly or by a team."""
        if isinstance(subject, Agent):
            lasting = subject.roles
            if subject.takes_owner_roles:
                lasting = (*lasting, *self.roles_of(self.people.get(subject.owner.id, subject.owner)))
        else:
            lasting = self._lasting_roles(subject)
        granted = [role_of(grant) for grant in self._grants_of.get(subject.id, ()) if not grant.is_consent]
        return (*lasting, *granted) if granted else lasting

    def _lasting_roles(self, person: Person) -> tuple[Role, ...]:
        try:
            return self._person_roles[person.id]
        except KeyError:
            teams = frozenset(person.team_ids)
            held = (r for r in self.roles.values() if person.id in r.person_ids or not teams.isdisjoint(r.team_ids))
            _make_room(self._person_roles)
            self._person_roles[person.id] = found = tuple(sorted(held, key=lambda role: role.id))
            return found

    def bundle_for(self, agent: Agent, bundle_id: str) -> Bundle | None:
        """The version that counts for this agent."""
        staged = self.staged.get(bundle_id)
        return staged if staged and staged.version_id in agent.staged else self.bundles.get(bundle_id)

    def bundles_of(self, agent: Agent, now: datetime, *, person_id: str = "") -> list[Bundle]:
        """Bundles the agent holds right now, by name; if it acts for a person, those that she holds as well."""
        held = self._held_now(agent, now)
        if person_id:
            held &= self._held_by_person(person_id, now)
        found = (self.bundle_for(agent, i) for i in held)
        return sorted((bundle for bundle in found if bundle is not None), key=lambda bundle: bundle.name)

    def bundle_of(self, agent: Agent, name: str, now: datetime, *, person_id: str = "") -> Bundle | None:
        """The bundle of that name, if the agent holds it right now."""
        bundle_id = self.bundle_ids.get(name, "")
        if bundle_id not in self._held_now(agent, now):
            return None
        if person_id and bundle_id not in self._held_by_person(person_id, now):
            return None
        return self.bundle_for(agent, bundle_id)

    def person_bundles(self, person_id: str, now: datetime) -> list[Bundle]:
        """Published bundles that the person holds right now, by name; none if she is not active."""
        held = self._held_by_person(person_id, now)
        return sorted((self.bundles[i] for i in held if i in self.bundles), key=lambda bundle: bundle.name)

    def _held_now(self, subject: Agent | Person, now: datetime) -> set[str]:
        roles = (role for role in self.roles_of(subject) if role.is_in_time(now, self.calendar))
        return {bundle_id for role in roles for bundle_id in role.bundle_ids}

    def _held_by_person(self, person_id: str, now: datetime) -> set[str]:
        person = self.people.get(person_id)
        return self._held_now(person, now) if person is not None and person.is_active else set()

    def limits_told(
        self, agent: Agent, bundle: Bundle, tool: Tool, now: datetime, *, person_id: str = ""
    ) -> tuple[str, ...]:
        """What the description of the tool tells the agent of its data scopes, e.g. `only project SUP`.

        All of these hold. Of several limited roles the agent may use either, so they are one text with `or`; a role
        in its time without a limit on this tool lifts those of the others. Empty when nothing limits it.
        """
        holding = self.holding(agent, bundle, tool, person_id)
        if holding is None:
            return ()
        sides = (self._limits(roles, holding, now) for roles in (holding.roles, holding.person_roles))
        return tuple(dict.fromkeys(text for side in sides for text in side))

    def _limits(self, roles: Iterable[Role], holding: Holding, now: datetime) -> list[str]:
        in_time = [holding.scopes.get(role.id, ()) for role in roles if role.is_in_time(now, self.calendar)]
        if not in_time or not all(in_time):
            return []
        texts = list(dict.fromkeys(tuple(scope.text for scope in scopes) for scopes in in_time))
        if len(texts) == 1:
            return list(texts[0])
        return [", or ".join(" and ".join(each) for each in texts)]

    def holding(self, agent: Agent, bundle: Bundle, tool: Tool, person_id: str = "") -> Holding | None:
        """Worked out once and remembered for a while, so that mostly it is one dictionary look-up."""
        kept = self._holdings if tool.kind == "tool" else self._target_holdings
        key = (agent.id, bundle.version_id, tool.id, person_id)
        try:
            return kept[key]
        except KeyError:
            _make_room(kept)
            kept[key] = found = self._find_holding(agent, bundle, tool, person_id)
            return found

    def _find_holding(self, agent: Agent, bundle: Bundle, tool: Tool, person_id: str) -> Holding | None:
        person = self.people.get(person_id) if person_id else None
        if person_id and (person is None or not person.is_active):
            return None
        roles = self._roles_giving(agent, bundle, tool)
        person_roles = self._roles_giving(person, bundle, tool) if person else ()
        if not roles or (person is not None and not person_roles) or not bundle.holds(tool):
            return None
        teams = _teams(agent, person)
        team_rules = [rule for team in teams for rule in self.team_rules.get(team, ())]
        naming = bundle.index.naming(tool)
        organization = [rule for rule in naming if rule.origin == "organization"]
        own = [rule for rule in naming if rule.origin != "organization"]
        rules = (*organization, *(rule for rule in team_rules if rule.matches(tool)), *own)
        scopes = scopes_of((*roles, *person_roles), tool)
        deciding = [rule for rule in rules if not rule.reads_content]
        consents = self._consents(agent, person, tool, deciding)
        conditions = conditions_of(deciding, scopes, consents)
        content = [rule for rule in rules if rule.screens]
        restores = tuple(rule for rule in rules if rule.effect == "restore")
        on_arguments = tuple(rule for rule in content if rule.on == "arguments")
        on_result = tuple(rule for rule in content if rule.on == "result")
        later = (rule.condition for rule in (*content, *restores))
        worked_out = [*conditions, *(condition for condition in later if isinstance(condition, Condition))]
        known = {"agent": agent.variables, "person": (person or agent.owner).variables, "tool": tool.variables}
        return Holding(
            agent=agent,
            bundle=bundle,
            tool=tool,
            roles=roles,
            rules=rules,
            read_set=self._reads(agent, person, bundle, tool, roles=(*roles, *person_roles), team_rules=team_rules),
            person=person,
            person_roles=person_roles,
            scopes=scopes,
            consents=consents,
            starts=(
                *(role.starts_at for role in (*roles, *person_roles) if role.starts_at is not None),
                *(grant.starts_at for grant in consents),
            ),
            has_grants=any(role.grant_id for role in (*roles, *person_roles)),
            reads_time=any("time" in condition.reads for condition in worked_out),
            reads_labels=bool(self.holds) or any(condition.reads_labels for condition in worked_out),
            on_arguments=on_arguments,
            on_result=on_result,
            screens=settled_screens(on_result),
            restores=restores,
            looked_for=looked_for(on_arguments, conditions),
            called=questions(deciding, conditions, known),
            listed=questions(
                [rule for rule in deciding if not rule.reads_arguments],
                [condition for condition in conditions if "args" not in condition.reads],
                known,
            ),
        )

    def _roles_giving(self, subject: Agent | Person, bundle: Bundle, tool: Tool) -> tuple[Role, ...]:
        return tuple(role for role in self.roles_of(subject) if role.gives(bundle.id, tool.id))

    def _consents(self, agent: Agent, person: Person | None, tool: Tool, rules: Iterable[Rule]) -> tuple[Grant, ...]:
        """For the tool as it is defined now, of those only who may still decide about the rules they answered."""
        subject = Subject(LONG_AGO, agent.id, person_id=person.id if person else "", connector_id=tool.connector.id)
        grants = (grant for owner in (agent.id, subject.person_id) for grant in self._grants_of.get(owner, ()))
        return tuple(
            grant
            for grant in grants
            if grant.is_consent
            and (grant.tool_id, grant.definition_digest) == (tool.id, tool.definition_digest)
            and self._may_consent(grant, subject, rules)
        )

    def _may_consent(self, grant: Grant, subject: Subject, rules: Iterable[Rule]) -> bool:
        """As things are now, but for the hour, which is that of the consent: see `approvers.standing`."""
        asking = [rule.terms for rule in rules if rule.terms is not None and rule.key in grant.rules]
        asking += [hold.terms for hold in self.holds if hold.key in grant.rules]
        return all(
            eligible(terms, subject, approver, self, grant.starts_at)
            for terms in asking
            for approver in grant.approvers
        )

    def account_for(self, connector: Connector, person: Person) -> Account | None:
        """With which calls for this person reach the connector, if it wants one and she has connected it."""
        whose = person.id if connector.account == "person" else ""
        return self._accounts_of.get((connector.id, connector.upstream_client, whose)) if connector.account else None

    # -- what decisions rest on

    def read_set(self, holding: Holding, credential_id: str, rests_on: frozenset[str] = frozenset()) -> frozenset[str]:
        """All that a decision about a holding rests on, asked for with this key, or with a token that itself rests on
        something. One set for all that rest on it."""
        key = (holding.read_set, credential_id)
        try:
            return self._read_sets[key]
        except KeyError:
            _make_room(self._read_sets)
            self._read_sets[key] = found = holding.read_set | {f"credential:{credential_id}"} | rests_on
            return found

    def _reads(
        self,
        agent: Agent,
        person: Person | None,
        bundle: Bundle,
        tool: Tool,
        *,
        roles: tuple[Role, ...],
        team_rules: Iterable[Rule],
    ) -> frozenset[str]:
        """All resources and prompts of a connector rest on the same rows, and share one set: it may be large."""
        key = (agent.id, bundle.version_id, tool.connector.id, person.id if person else "")
        if tool.kind != "tool" and key in self._target_reads:
            return self._target_reads[key]
        policies = [self.team_policies.get(team, frozenset()) for team in _teams(agent, person)]
        approvers = self._approvers(agent, person)
        account = self._account_reads(person or agent.owner, tool.connector)
        reads = bundle.ancestry.union(_own_reads(agent, person, tool, roles, team_rules), approvers, account, *policies)
        if tool.kind != "tool":
            _make_room(self._target_reads)
            self._target_reads[key] = reads
        return reads

    def _account_reads(self, person: Person, connector: Connector) -> Iterator[str]:
        """So that the end of the account that a call would use stops the call."""
        if connector.account:
            yield f"upstream_client:{connector.upstream_client}"
        if (account := self.account_for(connector, person)) is not None:
            yield f"upstream_grant:{account.id}"

    def _approvers(self, agent: Agent, person: Person | None) -> Iterator[str]:
        """Of all grants that may matter: they, and what makes them those who may decide."""
        for subject in (agent.id, person.id if person else ""):
            for grant in self._grants_of.get(subject, ()):
                for approver in grant.approvers:
                    yield f"person:{approver}"
                    yield from (f"team:{team}" for team in self.people[approver].team_ids)
                    yield from (f"team:{team}" for team, on_call in self.shifts.items() if _is_among(approver, on_call))

    def freeze_of(self, agent: Agent, tool: Tool, now: datetime) -> Freeze | None:
        for agent_id in (agent.id, None):
            for freeze in self._freezes_by_agent.get(agent_id, ()):
                if freeze.covers(agent, tool, now):
                    return freeze
        return None

    def is_stopped(self, agent_id: str, now: datetime) -> bool:
        """Whether a freeze covers all that the agent could do: then it need not listen either."""
        freezes = (freeze for key in (agent_id, None) for freeze in self._freezes_by_agent.get(key, ()))
        return any(
            freeze.connector_id is None and freeze.tool_id is None and (freeze.ends_at is None or now < freeze.ends_at)
            for freeze in freezes
        )


def _is_among(person_id: str, on_call: Shifts) -> bool:
    return any(person_id == who for who, _, _ in on_call)


def role_of(grant: Grant) -> Role:
    """Access for a time, as one more role."""
    scopes = () if grant.condition is None else (Scope(("*",), grant.condition, _source(grant.condition)),)
    return Role(
        id=f"grant-{grant.id}",
        name=grant.kind,
        bundle_ids=frozenset({grant.bundle_id}),
        starts_at=grant.starts_at,
        ends_at=grant.ends_at,
        schedule={},
        scopes=scopes,
        grant_id=grant.id,
        tool_id=grant.tool_id,
    )


def _source(condition: Condition | Undecidable) -> str:
    return condition.source if isinstance(condition, Condition) else "nothing: its condition cannot be read"


def _teams(agent: Agent, person: Person | None) -> tuple[str, ...]:
    """The owner's, then the person's, each once."""
    owners = agent.owner.team_ids
    return owners if person is None else tuple(dict.fromkeys((*owners, *person.team_ids)))


def patterns_of(bundle: Bundle) -> Iterator[Tool]:
    """What the bundle selects by pattern, as if each pattern were one resource or prompt: to tell what it gives."""
    for selection in bundle.selections:
        without = f" without {', '.join(selection.deny)}" if selection.deny else ""
        for glob in selection.allow:
            yield _rowless(selection.connector, selection.kind, f"{glob}{without}")


def _rowless(connector: Connector, kind: str, name: str) -> Tool:
    full_name = f"{kind}:{name}"
    variables = {
        "name": full_name,
        "connector": connector.name,
        "risk": "medium",
        "read_only": True,
        "data_classes": [],
        "environment": connector.stage,
        "untrusted": False,
        "egress": False,
        "undo": "",
    }
    return Tool(f"{kind}:{connector.id}:{name}", full_name, connector, "", {}, variables, kind)


def _make_room(kept: dict[Any, Any]) -> None:
    if len(kept) >= HOLDINGS_KEPT:
        kept.clear()


def _own_reads(
    agent: Agent, person: Person | None, tool: Tool, roles: Iterable[Role], team_rules: Iterable[Rule]
) -> set[str]:
    """What a hold on a tool rests on beside the bundle. Grants have no entry: a change of one touches everybody."""
    entries = {
        f"agent:{agent.id}",
        f"person:{agent.owner.id}",
        f"connector:{tool.connector.id}",
    }
    if person is not None:
        entries.add(f"person:{person.id}")
    if tool.kind == "tool":
        entries.add(f"tool:{tool.id}")
    entries.update(f"role:{role.id}" for role in roles if not role.grant_id)
    entries.update(f"team:{team}" for team in _teams(agent, person))
    entries.update(f"policy_version:{rule.version_id}" for rule in team_rules)
    if tool.connector.secret is not None:
        entries.add(f"secret:{tool.connector.secret.id}")
    return entries


def is_plainly_spelled(uri: str) -> bool:
    """Could no upstream take this URI for another one, which a glob would judge otherwise?

    Refused are dot segments however encoded, needless percent-encoding, backslashes, white space, control characters,
    a scheme in capitals and odd spellings of a web address's host: RFC 3986 section 6.2 makes the same resource of them
    as of the plain form.
    """
    if not SCHEME.match(uri) or ENCODED_UNRESERVED.search(uri) or any(sign <= " " or sign in "\\\x7f" for sign in uri):
        return False
    if WEB.match(uri) and not WEB_HOST.match(uri):
        return False
    for _ in range(DECODINGS):
        if any(step.partition(";")[0] in (".", "..") for step in re.split(r"[/\\?#]", uri)):
            return False
        uri, before = unquote(uri, errors="replace"), uri
        if uri == before:
            return True
    return False


__all__ = (
    "NOBODY",
    "WILD",
    "Account",
    "Agent",
    "AllowedPattern",
    "Baseline",
    "Bundle",
    "Connector",
    "Credential",
    "Edition",
    "Freeze",
    "Grant",
    "Person",
    "Pick",
    "Program",
    "RateLimit",
    "Reaction",
    "Role",
    "Rule",
    "RuleIndex",
    "Scope",
    "SealedCanary",
    "SealedSecret",
    "Selection",
    "Shifts",
    "Snapshot",
    "Team",
    "Tool",
    "Undecidable",
    "is_plainly_spelled",
    "matcher",
    "matches_any",
    "names_of",
    "patterns_of",
    "role_of",
)
