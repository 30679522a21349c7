"""What a verdict does not say: why, within which limits, on which grants, for whom. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.explain_remedies import moment, when
from gateway.reach.verdicts import Verdict, View, bundles_giving
from governance.conditions import Condition
from governance.decision import AccessRequest, Decision, decide, rank
from governance.snapshot import Agent, Bundle, Rule, Tool

MOST_REASONS = 3
MOST_KEPT = 20_000
STOPS = {
    "agent_not_live": "the agent or its owner is not live",
    "role_not_in_time": "not at this hour",
    "frozen": "frozen",
    "connector_disabled": "the system is switched off",
    "secret_missing": "the system's secret has no value",
    "denied_by_rule": "a rule says no",
}
GRANTS = {"elevation": "elevation", "break_glass": "break-glass"}


@dataclass(frozen=True, slots=True)
class GrantTold:
    """Access for a time."""

    kind: str
    ends_at: datetime

    @property
    def words(self) -> str:
        return f"{GRANTS.get(self.kind, self.kind)} until {moment(self.ends_at)}"


@dataclass(frozen=True, slots=True)
class PersonTold:
    """Somebody on whose behalf a key of the agent acts, and whether she holds the tool as well."""

    email: str
    holds: bool

    @property
    def words(self) -> str:
        return self.email if self.holds else f"{self.email} (does not have it)"


@dataclass(frozen=True, slots=True)
class Detail:
    """`reason` is empty where there is nothing to say; `scopes` are what the agent is told of its limits."""

    reason: str = ""
    scopes: tuple[str, ...] = ()
    grants: tuple[GrantTold, ...] = ()
    people: tuple[PersonTold, ...] = ()

    @property
    def columns(self) -> tuple[str, str, str, str]:
        """As text, in the order of COLUMNS."""
        grants, people = (each.words for each in self.grants), (each.words for each in self.people)
        return self.reason, "; ".join(self.scopes), "; ".join(grants), ", ".join(people)

    @property
    def words(self) -> str:
        """All of it in one line."""
        reason, scopes, grants, people = self.columns
        return "; ".join(part for part in (reason, scopes, grants, people and f"for {people}") if part)


COLUMNS = ("reason", "scopes", "grants", "on behalf of")
NOTHING = Detail()


def detail_of(agent: Agent, tool: Tool, verdict: Verdict, view: View) -> Detail:
    """Of several bundles that give the tool, of the one that is used."""
    ways = list(bundles_giving(agent, tool, view.snapshot)) if verdict is not Verdict.NO else []
    if not ways:
        return NOTHING
    used = ways[0] if len(ways) == 1 else min(ways, key=lambda bundle: rank(decided(agent, bundle, tool, view)))
    return detail_through(agent, used, tool, verdict, view)


def detail_through(agent: Agent, bundle: Bundle, tool: Tool, verdict: Verdict, view: View) -> Detail:
    """Mostly agents of the same roles and teams share it, so it is worked out once for all of them."""
    detail = _shared(agent, bundle, tool, verdict, view)
    people = view.persons.get(agent.id, ())
    if not people:
        return detail
    holding = view.snapshot.holding
    told = (PersonTold(person.email, holding(agent, bundle, tool, person.id) is not None) for person in people)
    return replace(detail, people=tuple(told))


def _shared(agent: Agent, bundle: Bundle, tool: Tool, verdict: Verdict, view: View) -> Detail:
    if verdict is Verdict.STOPPED:
        return _worked_out(agent, bundle, tool, verdict, view)
    roles = tuple(role.id for role in view.snapshot.roles_of(agent))
    key = (bundle.version_id, tool.id, verdict, roles, agent.owner.team_ids)
    detail = view.kept.get(key)
    if detail is None:
        if len(view.kept) >= MOST_KEPT:
            view.kept.clear()
        view.kept[key] = detail = _worked_out(agent, bundle, tool, verdict, view)
    return detail


def _worked_out(agent: Agent, bundle: Bundle, tool: Tool, verdict: Verdict, view: View) -> Detail:
    snapshot = view.snapshot
    return Detail(
        reason="; ".join(_reasons(agent, bundle, tool, verdict, view)),
        scopes=snapshot.limits_told(agent, bundle, tool, view.at),
        grants=tuple(
            GrantTold(role.name, role.ends_at)
            for role in snapshot.roles_of(agent)
            if role.grant_id and role.ends_at and role.ends_at > view.at and role.gives(bundle.id, tool.id)
        ),
    )


def decided(agent: Agent, bundle: Bundle, tool: Tool, view: View) -> Decision:
    """As in a list: without arguments."""
    request = AccessRequest(
        agent_id=agent.id,
        credential_id="",
        tool_id=tool.id,
        bundle_id=bundle.id,
        arguments=None,
        target=tool if tool.kind != "tool" else None,
    )
    return decide(request, view.snapshot, view.at)


def stop_of(decision: Decision) -> str:
    """Why it cannot be called at this moment; empty if it can."""
    return STOPS.get(decision.code, "")


def _stop_told(decision: Decision) -> str:
    """With the words of the rule or freeze that stops it."""
    has_words = decision.code in ("denied_by_rule", "frozen") and decision.reason
    return decision.reason if has_words else stop_of(decision)


def _reasons(agent: Agent, bundle: Bundle, tool: Tool, verdict: Verdict, view: View) -> Iterator[str]:
    if verdict is Verdict.STOPPED:
        yield _stop_told(decided(agent, bundle, tool, view))
        return
    roles = [role for role in view.snapshot.roles_of(agent) if role.gives(bundle.id, tool.id) and not role.grant_id]
    if roles and all(role.schedule or role.ends_at or role.starts_at for role in roles):
        yield ", or ".join(dict.fromkeys(when(role) for role in roles))
    holding = view.snapshot.holding(agent, bundle, tool)
    rules = [rule for rule in holding.rules if rule.effect in ("ask", "deny")] if holding else []
    yield from (_told(rule) for rule in rules[:MOST_REASONS])
    if len(rules) > MOST_REASONS:
        yield f"{len(rules) - MOST_REASONS} more rules"


def _told(rule: Rule) -> str:
    condition = f" when {rule.condition.source}" if isinstance(rule.condition, Condition) else ""
    return f"{rule.effect} by {rule.key}{condition}"
