"""Compiles the published versions of bundles, with all they inherit, into what decisions read."""

import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property

from governance.snapshot import Bundle, Connector, Edition, Pick, Rule, Selection, Tool

logger = logging.getLogger(__name__)

NAME_LIMIT = 64
PREFIX = "__"
Rules = Mapping[str, tuple[Rule, ...]]
"""Policy id -> rules of its version in force."""
Refused = Mapping[tuple[str, str], tuple[str, ...]]
"""Globs by kind of thing and connector id."""
LOOKS_HASHED = re.compile(r"_[0-9a-f]{6}\Z")


class Compiler:
    """`known` are bundles of an earlier snapshot, by id, that offer the same tools now."""

    def __init__(
        self,
        editions: Mapping[str, Edition],
        rules: Rules,
        organization_policies: frozenset[str],
        connectors: Mapping[str, Connector],
        tools: Mapping[str, Tool],
        *,
        known: Mapping[str, Bundle],
    ) -> None:
        self._editions = editions
        self._rules = rules
        self._organization_policies = organization_policies
        self._connectors = connectors
        self._tools = tools
        self._known = known

    @cached_property
    def _offers(self) -> Mapping[str, list[Tool]]:
        """By connector id."""
        offers: dict[str, list[Tool]] = defaultdict(list)
        for tool in self._tools.values():
            offers[tool.connector.id].append(tool)
        return offers

    def bundles(self, editions: Iterable[Edition]) -> dict[str, Bundle]:
        return {edition.bundle_id: self._bundle(edition) for edition in editions}

    @cached_property
    def _of_all(self) -> tuple[Rule, ...]:
        return policy_rules(self._rules, self._organization_policies, "organization")

    def _bundle(self, edition: Edition) -> Bundle:
        lineage, members, is_whole = _lineage(edition, self._editions)
        rules = list(self._of_all)
        ancestry = {f"bundle:{member}" for member in members} | policy_entries(self._organization_policies)
        for each in lineage:
            rules += policy_rules(self._rules, each.policy_ids, f"bundle {each.name} v{each.number}")
            ancestry |= {f"bundle_version:{each.version_id}"} | policy_entries(each.policy_ids)
        ancestry.update(f"policy_version:{version}" for version in {rule.version_id for rule in rules})
        tools, by_union_name = self._exposed(edition) if is_whole else ({}, {})
        return Bundle(
            id=edition.bundle_id,
            name=edition.name,
            title=edition.title,
            version_id=edition.version_id,
            number=edition.number,
            records_payload=any(each.recording == "full" for each in lineage),
            tools=tools,
            by_union_name=by_union_name,
            tool_ids=frozenset(tool.id for tool in tools.values()),
            rules=tuple(rules),
            ancestry=frozenset(ancestry),
            selections=self._selections(edition) if is_whole else (),
            is_prefixed=edition.names == "prefixed",
            retention=edition.retention,
        )

    def _exposed(self, edition: Edition) -> tuple[Mapping[str, Tool], Mapping[str, Tool]]:
        known = self._known.get(edition.bundle_id)
        if known is not None and known.tools:
            return known.tools, known.by_union_name
        refused = refused_by_ancestors(edition, self._editions)
        picks = [_without(pick, refused) for pick in edition.picks if pick.kind == "tool"]
        offered = [(pick, tool) for pick in picks for tool in self._offers.get(pick.connector_id, ())]
        tools = {tool.id: tool for pick, tool in offered if pick.selects(tool.name)}.values()
        is_plain = edition.names == "plain" or (not edition.names and len(picks) <= 1)
        return expose(tools, prefixed=not is_plain), expose(tools, prefixed=True)

    def _selections(self, edition: Edition) -> tuple[Selection, ...]:
        """Of what has no rows: resources and prompts."""
        refused = refused_by_ancestors(edition, self._editions)
        found = [
            Selection(pick.kind, self._connectors[pick.connector_id], pick.allow, pick.deny)
            for pick in (_without(each, refused) for each in edition.picks if each.kind != "tool")
        ]
        return tuple(sorted(found, key=lambda selection: (selection.kind, selection.connector.name)))


def policy_rules(rules: Rules, policy_ids: Iterable[str], origin: str) -> tuple[Rule, ...]:
    """By the names of the policies."""
    present = sorted((rules[i] for i in policy_ids if i in rules), key=lambda of_policy: of_policy[0].policy)
    return tuple(replace(rule, origin=origin) for of_policy in present for rule in of_policy)


def policy_entries(policy_ids: Iterable[str]) -> frozenset[str]:
    """Also of policies that have no rule yet: the first rule must touch whoever it binds."""
    return frozenset(f"policy:{i}" for i in policy_ids)


def _lineage(edition: Edition, editions: Mapping[str, Edition]) -> tuple[list[Edition], list[str], bool]:
    """Ancestors before the edition itself, each once; ids of all their bundles; and whether all are published.

    A bundle whose ancestor is not published would lack its rules, so it gives nothing. A cycle ends where it began.
    """
    present = {**editions, edition.bundle_id: edition}
    order: list[str] = []
    visiting: set[str] = set()

    def visit(current: str) -> None:
        if current in visiting:
            return
        visiting.add(current)
        parents = present[current].parent_ids if current in present else ()
        for parent in sorted(parents, key=lambda i: (present[i].name if i in present else "", i)):
            visit(parent)
        order.append(current)

    visit(edition.bundle_id)
    lineage = [present[member] for member in order if member in present]
    return lineage, order, len(lineage) == len(order)


def refused_by_ancestors(edition: Edition, editions: Mapping[str, Edition]) -> Refused:
    """What any of them denies, the bundle cannot give."""
    ancestors = _lineage(edition, editions)[0][:-1]
    refused: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pick in (pick for ancestor in ancestors for pick in ancestor.picks):
        refused[pick.kind, pick.connector_id] += pick.deny
    return {of: tuple(globs) for of, globs in refused.items() if globs}


def _without(pick: Pick, refused: Refused) -> Pick:
    more = refused.get((pick.kind, pick.connector_id), ())
    return replace(pick, deny=tuple(dict.fromkeys((*pick.deny, *more)))) if more else pick


def expose(tools: Iterable[Tool], *, prefixed: bool) -> dict[str, Tool]:
    """Exposed name -> tool. Too long, illegal or colliding names are cut and given six hex digits of a hash.

    A name that looks hashed is hashed as well: otherwise one upstream could take the name that another's tool gets.
    """
    ordered = sorted(tools, key=lambda tool: (tool.connector.name, tool.name))
    wanted = [f"{tool.connector.name}{PREFIX}{tool.name}" if prefixed else tool.name for tool in ordered]
    counts = Counter(wanted)
    exposed: dict[str, Tool] = {}
    for name, tool in zip(wanted, ordered, strict=True):
        legal = re.sub(r"[^A-Za-z0-9_./-]", "_", name)
        is_usable = legal == name and len(name) <= NAME_LIMIT and counts[name] == 1 and not LOOKS_HASHED.search(name)
        shown = name if is_usable else _hashed_name(legal, tool)
        if exposed.setdefault(shown, tool) is not tool:
            logger.error("tool %s/%s is left out: its exposed name is taken", tool.connector.name, tool.name)
    return exposed


def _hashed_name(legal: str, tool: Tool) -> str:
    digest = hashlib.sha256(f"{tool.connector.name}/{tool.name}".encode()).hexdigest()[:6]
    return f"{legal[: NAME_LIMIT - 7]}_{digest}"
