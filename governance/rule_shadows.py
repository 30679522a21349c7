"""Which rules can never count beside others. Where that is hard to tell, they are held to count. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from governance.approval_terms import Terms, TermsError, parse_terms
from governance.rule_texts import Placed, RuleText, World
from governance.snapshot_values import WILD, matcher


def winners(placed: Placed, world: World) -> Iterator[Placed]:
    """Rules beside which this one never counts. Of two that say the same, the later one does not."""
    for other in _wider(placed.rule, world):
        if (other.policy, other.position) == (placed.policy, placed.position):
            continue
        if not _outweighs(other.rule, placed.rule) or not _binds_wherever(other.policy, placed.policy, world):
            continue
        is_equal = _outweighs(placed.rule, other.rule)
        if not is_equal or other.policy != placed.policy or other.position < placed.position:
            yield other


def _binds_wherever(winner: str, loser: str, world: World) -> bool:
    if winner == loser or winner in world.organization:
        return True
    if loser in world.organization:
        return False
    bundles, teams = _places(loser, world)
    bundles_of_winner, teams_of_winner = _places(winner, world)
    return bool(bundles or teams) and bundles <= bundles_of_winner and teams <= teams_of_winner


def _places(policy: str, world: World) -> tuple[frozenset[str], frozenset[str]]:
    """Bundles and teams with all that stand below them."""
    bundles, teams = world.users_of(policy)
    heirs = bundles.union(*(world.heirs[name] for name in bundles))
    return heirs, teams.union(*(world.subteams[name] for name in teams))


def _outweighs(winner: RuleText, loser: RuleText) -> bool:
    """Wherever the loser matches, the winner does, and leaves it nothing to say."""
    return winner.when in ("", loser.when) and _leaves_nothing(winner, loser) and _selects_all(winner, loser)


def _leaves_nothing(winner: RuleText, loser: RuleText) -> bool:
    if winner.effect == "deny":
        is_early = winner.on == "arguments" and not winner.findings
        return is_early or _sees_all(winner, loser)
    if winner.effect != loser.effect or not _sees_all(winner, loser):
        return False
    if winner.effect == "ask":
        return _is_as_strict(winner.approvers, loser.approvers)
    return winner.effect != "mask" or _masks_all(winner, loser)


def _sees_all(winner: RuleText, loser: RuleText) -> bool:
    """It looks at the same side, and whenever the loser's findings are there, so are its own."""
    if winner.on != loser.on or winner.effect == "mask":
        return winner.on == loser.on
    if not winner.findings:
        return True
    return bool(loser.findings) and set(loser.findings) <= set(winner.findings) and _is_as_closed(winner, loser)


def _masks_all(winner: RuleText, loser: RuleText) -> bool:
    has_fields = all(any(takes_in(wide, path) for wide in winner.fields) for path in loser.fields)
    is_as_final = not winner.reversible or loser.reversible
    return has_fields and is_as_final and _is_as_closed(winner, loser) and set(loser.findings) <= set(winner.findings)


def _is_as_closed(winner: RuleText, loser: RuleText) -> bool:
    """Whenever the loser counts because nobody could look, so does the winner."""
    return winner.on_failure == "closed" or loser.on_failure == "open"


def _is_as_strict(approvers: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    if approvers == than:
        return True
    try:
        return _implies(parse_terms(approvers), parse_terms(than))
    except TermsError:
        return False


def _implies(strict: Terms, weak: Terms) -> bool:
    """Whoever meets the strict terms has met the weak ones: the same people, at least as many and as soon."""
    who = ("teams", "people", "on_call", "manager", "resource_owner", "escalate_to", "escalate_after")
    return (
        all(getattr(strict, name) == getattr(weak, name) for name in who)
        and strict.count >= weak.count
        and strict.denials <= weak.denials
        and strict.needs_reason >= weak.needs_reason
        and weak.ticket in ("", strict.ticket)
        and strict.pending <= weak.pending
        and strict.use_within <= weak.use_within
        and strict.longest_grant <= weak.longest_grant
        and (not weak.step_up or 0 < strict.step_up <= weak.step_up)
        and strict.in_chat <= weak.in_chat
    )


def _selects_all(winner: RuleText, loser: RuleText) -> bool:
    return (
        _any_takes_in(winner.tools, loser.tools)
        and (not winner.connectors or (bool(loser.connectors) and _any_takes_in(winner.connectors, loser.connectors)))
        and _is_narrower(loser.data_classes, winner.data_classes)
        and _is_narrower(loser.risks, winner.risks)
        and winner.access in ("", loser.access)
    )


def _is_narrower(values: Sequence[str], than: Sequence[str]) -> bool:
    """Both mean any of theirs; none means all there are."""
    return not than or (bool(values) and set(values) <= set(than))


def _any_takes_in(wide: Iterable[str], narrow: Iterable[str]) -> bool:
    return all(any(takes_in(glob, each) for glob in wide) for each in narrow)


def takes_in(wide: str, narrow: str) -> bool:
    """Does one glob match all that another one does? Where that is hard to tell, no."""
    if wide in ("*", narrow):
        return True
    if "[" in wide or "[" in narrow or ("?" in wide and WILD.search(narrow)):
        return False
    return bool(matcher(wide)(narrow))


def _wider(rule: RuleText, world: World) -> Iterator[Placed]:
    """Rules that name the first of its tools, among others: the only ones that could take in all of them."""
    glob = rule.tools[0]
    wider = (wild for wild in world.wild_globs if wild != glob and takes_in(wild, glob))
    yield from chain.from_iterable(world.rules_by_glob.get(each, ()) for each in (glob, *wider))
