"""An explanation in plain words, for readers who know no rule: what would happen, why, and for how long. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from gateway.explain_remedies import moment
from gateway.explain_values import Asked, Detection, Explanation, GivenBy, Path, Rested

NAMES_TOLD = 5
ACCESS = {"elevation": "access for a time", "break_glass": "a break-glass", "consent": "an approval of such calls"}


def words(found: Explanation) -> Iterator[str]:
    """Sentences, the answer first."""
    yield _answer(found)
    path = next((path for path in found.paths if path.decides), None)
    if path is None:
        return
    yield from _given(path)
    yield from dict.fromkeys(_scopes(path))
    yield from (_asked(ask) for ask in path.asks)
    yield from (_rested(grant) for grant in path.grants)
    if path.masks:
        fields = dict.fromkeys(glob for mask in path.masks for glob in mask.fields)
        yield f"Masked in the result: {', '.join(fields)}."
    if path.reads_labels:
        yield _labels(found)
    if any(rule.outcome == "later" for rule in path.considered):
        yield _looked_at(found.detection)
    if path.valid_until is not None:
        yield f"Left alone this holds until {moment(path.valid_until)}; then the clock may change it."


def _answer(found: Explanation) -> str:
    who = f"{found.agent}, acting for {found.on_behalf_of}," if found.on_behalf_of else found.agent
    if found.depends_on_arguments:
        return f"Whether {who} may call {found.tool} depends on the arguments."
    reason = found.reason.rstrip(".")
    told = f"{reason[:1].upper()}{reason[1:]}."
    return {
        "permit": f"{who} may call {found.tool}. {told}",
        "ask": f"{who} may call {found.tool} once a human has agreed. {told}",
        "deny": f"{who} may not call {found.tool}. {told}",
    }[found.decision]


def _looked_at(by: Detection) -> str:
    off = f" {_listed(by.off)} {_is(by.off)} switched off." if by.off else ""
    excepted = f" {_listed(by.exceptions)} {_is(by.exceptions)} excepted here for a time." if by.exceptions else ""
    return f"What it carries is looked at by the pack {by.pack} of detection rules.{off}{excepted}"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _given(path: Path) -> Iterator[str]:
    staged = ", which is staged to this agent" if path.is_staged else ""
    for whose, subject in (("agent", "The agent has it"), ("person", "The person it acts for has it")):
        given = [each for each in path.given_by if each.whose == whose]
        if not given:
            continue
        in_time = [each for each in given if each.is_in_time]
        if in_time:
            yield f"{subject} by {_listed(map(_source, in_time))} through the bundle {path.bundle}{staged}."
        else:
            times = _listed(f"{each.role} ({each.times})" for each in given)
            yield f"{subject} through the bundle {path.bundle}, but not at that time: {times}."


def _source(given: GivenBy) -> str:
    return f"a grant ({given.role.replace('_', '-')}, {given.times})" if given.grant else f"the role {given.role}"


def _scopes(path: Path) -> Iterator[str]:
    for given in (each for each in path.given_by if each.is_in_time):
        for scope in given.scopes:
            becomes = {
                "holds": "the call lies within it",
                "does_not_hold": "the call lies outside",
                "undecided": f"that cannot be worked out, as {scope.why}, and counts as outside",
                "needs_arguments": "that depends on the arguments",
            }[scope.outcome]
            yield f"The role {given.role} is limited to “{scope.text}”: {becomes}."


def _asked(ask: Asked) -> str:
    if not ask.able:
        return f"Nobody could agree to what {ask.rule} asks: nobody fits its terms who has no stake in the call."
    humans = "1 human" if ask.needed == 1 else f"{ask.needed} humans"
    short = f" That is fewer than the {ask.needed} it wants." if ask.able < ask.needed else ""
    more = f" and {ask.able - NAMES_TOLD} more" if ask.able > NAMES_TOLD else ""
    return (
        f"{humans} must agree to what {ask.rule} asks. Who could: {', '.join(ask.approvers[:NAMES_TOLD])}{more}.{short}"
    )


def _rested(grant: Rested) -> str:
    agreed = f", agreed by {', '.join(grant.agreed)}" if grant.agreed else ""
    counted = " Its uses are counted." if grant.is_counted else ""
    return f"It rests on {ACCESS.get(grant.kind, grant.kind)} until {moment(grant.ends_at)}{agreed}.{counted}"


def _labels(found: Explanation) -> str:
    if found.labels:
        return f"Rules read what the run has met, here: {', '.join(found.labels)}."
    return "Rules read what the run has met before; this tells of a fresh run, which has met nothing."


def _listed(parts: Iterable[str]) -> str:
    return " and ".join(parts)
