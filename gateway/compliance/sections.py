"""The sections a report can have: which evidence each reads, and how its lines are told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from audit.kinds import CALL_ENDS, KINDS
from audit.models import EventRow, Mention
from gateway.compliance.access_then import ACCESS_COLUMNS, DUTY_COLUMNS, World, access_lines, duty_lines, world_at
from gateway.compliance.lines import (
    ACT_COLUMNS,
    APPROVAL_COLUMNS,
    CALL_COLUMNS,
    CHANGE_COLUMNS,
    Line,
    act_line,
    approval_line,
    call_line,
    change_line,
)
from gateway.compliance.reading import Reading, Told
from gateway.offboarding_traces import addresses_of
from governance.models import User

CHANGED = "governance.changed"
RULES = ("governance_bundle", "governance_policy", "governance_rule", "governance_organization")
RIGHTS = (
    "governance_role",
    "governance_grant",
    "governance_team",
    "governance_user",
    "governance_agent",
    "governance_groupmapping",
    "governance_staffidentity",
)


@dataclass(slots=True)
class Asked:
    """What a section is asked for; `person` is whose data a report on one person is about."""

    reading: Reading
    person: User | None = None
    _worlds: dict[datetime, World] = field(default_factory=dict)

    def worlds(self) -> Iterator[World]:
        """At both ends of the period, each rebuilt once."""
        for at in (self.reading.since, self.reading.until):
            if at not in self._worlds:
                self._worlds[at] = world_at(self.reading, at)
            yield self._worlds[at]


@dataclass(frozen=True, slots=True)
class Section:
    """`says` is what each line is, `limits` what the section does not tell."""

    key: str
    title: str
    says: str
    columns: tuple[str, ...]
    lines: Callable[[Asked], Iterator[Line]]
    limits: str = ""


def kinds_of(*prefixes: str) -> list[str]:
    """All kinds that begin so; a new kind of an old subject joins by itself."""
    return [kind for kind in KINDS if kind.startswith(prefixes)]


def _acts(*prefixes: str) -> Callable[[Asked], Iterator[Line]]:
    return lambda asked: map(act_line, asked.reading.of_kinds(kinds_of(*prefixes)))


def _access(asked: Asked) -> Iterator[Line]:
    for world in asked.worlds():
        yield from access_lines(world)


def _duties(asked: Asked) -> Iterator[Line]:
    for world in asked.worlds():
        yield from duty_lines(world)


def _changed(tables: tuple[str, ...], *prefixes: str) -> Callable[[Asked], Iterator[Line]]:
    """Acts by what they were, and rows by what they became."""

    def lines(asked: Asked) -> Iterator[Line]:
        for told in asked.reading.of_kinds([CHANGED, *kinds_of(*prefixes)]):
            if told.kind != CHANGED or str(told.details.get("relation")).startswith(tables):
                yield change_line(told)

    return lines


def _approvals(asked: Asked) -> Iterator[Line]:
    return map(approval_line, asked.reading.of_kinds(kinds_of("approval.", "grant.")))


def _denied(asked: Asked) -> Iterator[Line]:
    sums = [EventRow.objects.filter(kind=kind, call_id=None) for kind in kinds_of("strangers.", "calls.")]
    refused = EventRow.objects.filter(outcome="refused", kind="call.refused")
    return map(call_line, asked.reading.merged([refused, *sums]))


def _calls(asked: Asked) -> Iterator[Line]:
    return map(call_line, asked.reading.merged([EventRow.objects.filter(kind__in=CALL_ENDS)]))


def _of_person(asked: Asked) -> Iterator[Line]:
    """By every address that she ever had here: what she did, what was done to her, and her rows."""
    if asked.person is None:
        return
    addresses = sorted(addresses_of(asked.person))
    by_her = [EventRow.objects.filter(actor=f"person:{address}", call_id=None) for address in addresses]
    about_her = [EventRow.objects.filter(person=address).exclude(kind="call.intent") for address in addresses]
    mentions = Mention.objects.filter(object_id=asked.person.pk.hex).values("event_id")
    rows = [EventRow.objects.filter(pk__in=mentions)]
    yield from map(_line_of_any, asked.reading.merged([*by_her, *about_her, *rows]))


def _line_of_any(told: Told) -> Line:
    line = change_line(told)
    if not told.kind.startswith("call."):
        return line
    at, what, agent, _, tool, decision, outcome, rest = call_line(told).cells
    told_more = "; ".join(text for text in (decision, outcome, rest) if text)
    return Line((at, what, f"agent:{agent}", tool, told_more), line.places)


SECTIONS = {
    section.key: section
    for section in (
        Section(
            "access",
            "Who had access to what, at the beginning and at the end",
            "An agent or person, and a bundle of tools that a role or grant gave at that instant.",
            ACCESS_COLUMNS,
            _access,
            "Rebuilt from the recorded changes of every row. It tells what was given; rules, freezes and schedules may"
            " have refused single calls. What was given before the evidence begins, and not touched since, is missing.",
        ),
        Section(
            "duties",
            "Who could administer, at the beginning and at the end",
            "A person with duties in the product, or an owner, at that instant.",
            DUTY_COLUMNS,
            _duties,
            "Rights outside the product, such as those on its database or host, are not known here.",
        ),
        Section(
            "access-changes",
            "Changes of access",
            "A change of a role, team, person, agent, grant or what a group gives, with who made it.",
            CHANGE_COLUMNS,
            _changed(RIGHTS, "role.", "grant.", "agent.", "mapping.", "owner.", "directory."),
        ),
        Section(
            "rule-changes",
            "Changes of bundles and policies",
            "A change of what is allowed to everybody who holds it; a publication names its author and second person.",
            CHANGE_COLUMNS,
            _changed(RULES, "bundle.", "policy.", "manifest.", "organization.", "tools.classified", "definition."),
        ),
        Section(
            "approvals",
            "Approvals",
            "Who asked, who decided, and the digest of exactly what was decided on.",
            APPROVAL_COLUMNS,
            _approvals,
            "Arguments of calls are sealed apart and not in this report; the digest binds them.",
        ),
        Section(
            "offboardings",
            "Offboardings",
            "A step of the end of somebody's access; the receipt's digest binds what was found and done.",
            ACT_COLUMNS,
            _acts("offboarding.", "person.offboarded", "zombies."),
        ),
        Section(
            "access-reviews",
            "Access reviews",
            "A review begun, a decision to keep or revoke with its reason, a revocation done, or a review signed off.",
            ACT_COLUMNS,
            _acts("access_review."),
        ),
        Section(
            "sign-ins",
            "Sign-ins and what people sign in with",
            "A sign-in, a failed one, or a change of a password, second factor or single sign-on.",
            ACT_COLUMNS,
            _acts("person.", "identity.", "authorization", "token", "mcp_session."),
        ),
        Section(
            "denied",
            "Denied calls",
            "A call that was refused before anything was sent, or a count of strangers that were turned away.",
            CALL_COLUMNS,
            _denied,
            "Attempts without a valid key are counted together, not told one by one.",
        ),
        Section(
            "calls",
            "Calls",
            "How a call of an agent ended: its tool, decision and outcome.",
            CALL_COLUMNS,
            _calls,
            "Arguments and results are sealed apart and not in this report.",
        ),
        Section(
            "break-glass",
            "Break-glass",
            "Access without approval, or a use of the break-glass account, and its review.",
            ACT_COLUMNS,
            _acts("break_glass", "grant.reviewed"),
        ),
        Section(
            "keys",
            "Keys and secrets",
            "A key or secret issued, replaced, revoked or asked to be replaced. No value is in evidence.",
            ACT_COLUMNS,
            _acts(
                "key.", "keys.", "rotation.", "secret.", "vault.", "second_factors.", "access_tokens.", "signing_key."
            ),
        ),
        Section(
            "incidents",
            "Freezes, reactions, findings and signals",
            "The emergency switch, what the gateway did by itself, what humans said of findings and excepted from"
            " inspection, and word from identity providers.",
            ACT_COLUMNS,
            _acts(
                "freeze.", "reaction.", "security_event", "tool.", "account.",
                "finding.", "exception.", "detection.", "inspection.",
            ),
        ),
        Section(
            "evidence",
            "Health of the evidence",
            "A sign of life of the log, a backup, an export, or a look into recorded arguments.",
            ACT_COLUMNS,
            _acts("audit.", "evidence.", "backup.", "payload.", "list.", "access.", "anchor", "sink", "report."),
            "That the log is whole is not shown by these lines but by checking it: see the last page.",
        ),
        Section(
            "erasures",
            "Erasures and holds",
            "Personal data made unreadable by the destruction of its keys, or kept by a legal hold.",
            ACT_COLUMNS,
            _acts("audit.subject_erased", "audit.payloads_expired", "audit.pruned", "hold."),
        ),
        Section(
            "person",
            "Everything about one person",
            "What she did, what was done to her, calls on her behalf, and changes of her own row.",
            CHANGE_COLUMNS,
            _of_person,
            "By every address that she had here. Recorded arguments and results are sealed apart and not in this"
            " report; texts about her that name no address are not found.",
        ),
    )
}  # fmt: skip
