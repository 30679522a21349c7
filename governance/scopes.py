"""Data scopes: the limits that roles put on the arguments of what they give. Pure."""

from collections.abc import Iterable, Mapping

from governance.conditions import Verdict
from governance.holdings import Holding
from governance.snapshot import Role

Verdicts = Mapping[str, Verdict]
"""Source of a condition -> what it comes to; one that is missing could not be worked out."""


def fitting(roles: Iterable[Role], holding: Holding, verdicts: Verdicts, *, is_listing: bool) -> list[Role]:
    """Roles whose every scope for the tool is true; undecided is outside. While listing there are no arguments yet."""
    if not holding.scopes:
        return list(roles)
    return [
        role
        for role in roles
        if all(
            (is_listing and scope.reads_arguments) or verdicts.get(scope.condition.source) is Verdict.TRUE
            for scope in holding.scopes.get(role.id, ())
        )
    ]


def outside(roles: Iterable[Role], holding: Holding) -> str:
    """Why a call that fits none of these roles is refused, in one sentence."""
    texts = dict.fromkeys(scope.text for role in roles for scope in holding.scopes.get(role.id, ()) if scope.text)
    return f"Outside what may be touched here: {', or '.join(texts)}." if texts else "Outside what may be touched here."
