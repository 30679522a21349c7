"""Who must agree, in words. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.console.wording import few
from governance.approval_terms import Terms
from governance.approvers import Agreement

DUTIES = {"approver": "approvers", "security": "security", "it-admin": "IT admins"}


@dataclass(frozen=True, slots=True)
class Needed:
    """`1 more of 2 humans must agree.` `Of the team support-leads.`"""

    needed: str
    who: str


def needed(agreement: Agreement) -> Needed:
    count, missing = agreement.ask.terms.count, agreement.missing
    humans = "1 human" if count == 1 else f"{count} humans"
    if not missing:
        said = f"{humans} agreed." if count == 1 else f"{humans} agreed, as the rule wants."
    elif missing == count:
        said = f"{humans} must agree."
    else:
        said = f"{missing} more of {humans} must agree."
    return Needed(said, f"Of {' or '.join(_parts(agreement.ask.terms))}.")


def _parts(terms: Terms) -> Iterator[str]:
    if terms.teams:
        yield _named("the team", "the teams", terms.teams)
    if terms.on_call:
        yield f"who is on call in {few(terms.on_call)}"
    if terms.named_duties:
        yield few([DUTIES.get(duty, duty) for duty in terms.named_duties])
    if terms.people:
        yield few(terms.people)
    if terms.manager:
        yield "the manager of the agent's owner"
    if terms.resource_owner:
        yield "who answers for the system"
    if terms.escalate_to:
        minutes = max(1, terms.escalate_after // 60)
        yield f"{_named('the team', 'the teams', terms.escalate_to)} after {minutes} min"


def _named(one: str, many: str, names: Iterable[str]) -> str:
    listed = list(names)
    return f"{one if len(listed) == 1 else many} {few([f'“{name}”' for name in listed])}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the rules want of this decision, all together: of several the strictest."""

    needs_reason: bool
    ticket: str
    step_up_seconds: int
    longest_grant_seconds: int


def wanted(terms: Iterable[Terms]) -> Wanted:
    known = list(terms)
    step_ups = [each.step_up for each in known if each.step_up]
    return Wanted(
        needs_reason=any(each.needs_reason for each in known),
        ticket=next((each.ticket for each in known if each.ticket), ""),
        step_up_seconds=min(step_ups, default=0),
        longest_grant_seconds=min((each.longest_grant for each in known), default=0),
    )
