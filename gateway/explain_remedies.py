"""What would change a "no", named row by row."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from gateway.explain_values import Remedy
from governance.models import Role as RoleRow
from governance.snapshot import Agent, Bundle, Freeze, Person, Role, Snapshot, Tool

MOST_REMEDIES = 10
NO_BUNDLE = Remedy("No published bundle holds this tool. Add it to one and publish.", "governance.view_bundle")
SIMPLE_REMEDIES = {
    "connector_disabled": Remedy("The connector is switched off. Enable it.", "governance.view_connector"),
    "secret_missing": Remedy("The connector's secret has no value. Enter one.", "governance.view_connector"),
    "denied_by_rule": Remedy("Change the rule that says no, or the arguments it looks at.", "governance.view_policy"),
    "outside_scope": Remedy("Change the role's data scopes, or the arguments they look at.", "governance.view_role"),
}


def remedies(
    code: str, agent: Agent, tools: Sequence[Tool], snapshot: Snapshot, *, person: Person | None, at: datetime
) -> Iterator[Remedy]:
    """`code` is that of the decision, `tools` are all of the name that was asked for."""
    known = {bundle.id: bundle for bundle in (*snapshot.bundles.values(), *snapshot.staged.values())}
    holders = [bundle for bundle in known.values() if any(bundle.holds(tool) for tool in tools)]
    if code == "agent_not_live":
        yield from _revived(agent)
    elif code == "tool_unknown":
        yield from _within_reach(agent, person, holders, snapshot)
    elif code == "role_not_in_time":
        subjects = (agent, person) if person else (agent,)
        given = {role.id: role for subject in subjects for role in roles_bringing(subject, holders, snapshot)}
        yield from (Remedy(f"Role {r.name} gives it {when(r)}.", "governance.view_role") for r in given.values())
    elif code == "frozen":
        yield from (_thawed(freeze) for freeze in _freezes(agent, tools, snapshot, at))
    elif code in SIMPLE_REMEDIES:
        yield SIMPLE_REMEDIES[code]


def roles_bringing(subject: Agent | Person, bundles: Sequence[Bundle], snapshot: Snapshot) -> list[Role]:
    """One of these bundles, at any time."""
    ids = {bundle.id for bundle in bundles}
    return [role for role in snapshot.roles_of(subject) if not ids.isdisjoint(role.bundle_ids)]


def _within_reach(
    agent: Agent, person: Person | None, holders: Sequence[Bundle], snapshot: Snapshot
) -> Iterator[Remedy]:
    if not holders:
        yield NO_BUNDLE
    elif not roles_bringing(agent, holders, snapshot):
        yield from _missing_roles("the agent", holders)
    elif person is not None and not person.is_active:
        yield Remedy(f"{person.email} is not active, so nobody acts on her behalf.", "governance.view_user")
    elif person is not None and not roles_bringing(person, holders, snapshot):
        yield from _missing_roles(person.email, holders)


def _revived(agent: Agent) -> Iterator[Remedy]:
    if agent.status == "retired":
        yield Remedy("It is retired for good. Make another agent.", "governance.view_agent")
    elif agent.status != "live":
        yield Remedy("It is suspended. Resume it.", "governance.view_agent")
    if not agent.owner.is_active:
        yield Remedy(f"Its owner {agent.owner.email} is not active. Transfer it.", "governance.view_agent")


def _missing_roles(whom: str, holders: Sequence[Bundle]) -> Iterator[Remedy]:
    rows = RoleRow.objects.filter(bundles__name__in=[bundle.name for bundle in holders]).order_by("name")
    found = list(rows.values_list("bundles__name", "name"))
    for bundle in sorted(holders, key=lambda bundle: bundle.name)[:MOST_REMEDIES]:
        names = [role for holder, role in found if holder == bundle.name][:MOST_REMEDIES]
        text = f"Give {whom} a role that brings the bundle {bundle.name}: {', '.join(names)}."
        without = f"The bundle {bundle.name} holds it, but no role gives that bundle. Make one."
        yield Remedy(text if names else without, "governance.view_role")


def when(role: Role) -> str:
    """The times of a role in words."""
    schedule = role.schedule
    days = ", ".join(schedule.get("days") or ["every day"])
    parts = [
        f"from {moment(role.starts_at)}" if role.starts_at else "",
        f"until {moment(role.ends_at)}" if role.ends_at else "",
        f"{days} {schedule['from']}–{schedule['to']}" if schedule else "",
        "not on holidays" if schedule.get("holidays") is False else "",
    ]
    return ", ".join(part for part in parts if part) or "at all times"


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _freezes(agent: Agent, tools: Sequence[Tool], snapshot: Snapshot, at: datetime) -> list[Freeze]:
    found = (snapshot.freeze_of(agent, tool, at) for tool in tools)
    return list({id(freeze): freeze for freeze in found if freeze is not None}.values())


def frozen_thing(freeze: Freeze) -> str:
    targets = (("the agent", freeze.agent_id), ("the connector", freeze.connector_id), ("the tool", freeze.tool_id))
    return next((kind for kind, frozen_id in targets if frozen_id is not None), "everything")


def _thawed(freeze: Freeze) -> Remedy:
    ends = f"ends at {moment(freeze.ends_at)}" if freeze.ends_at else "stays until it is lifted"
    return Remedy(f"Wait, or lift the freeze of {frozen_thing(freeze)}: it {ends}.", "governance.view_freeze")
