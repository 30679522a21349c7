"""Rules and bundles as snapshots hold them."""

import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from governance import models
from governance.approval_terms import Terms, TermsError, parse_terms
from governance.conditions import Condition, ConditionError, compile_condition
from governance.snapshot import (
    NOBODY,
    Edition,
    Pick,
    Rule,
    Undecidable,
)
from governance.snapshot_rows.common import Ids, among, key, keys

logger = logging.getLogger(__name__)

CONDITIONS_KEPT = 10_000


def rules(only: Ids) -> Mapping[str, list[models.Rule]]:
    """Policy id -> rows of its version in force, for `rule_of`."""
    found: dict[str, list[models.Rule]] = defaultdict(list)
    if only is None or only:
        rows = among(models.Rule.objects.filter(version__state="published"), "version__policy_id", only)
        for row in rows.prefetch_related("version__policy").order_by("version_id", "position"):
            found[key(row.version.policy_id)].append(row)
    return found


def rule_of(row: models.Rule) -> Rule:
    """Compiles its condition."""
    masks = row.effect == models.Rule.Effect.MASK and bool(row.fields)
    on_result = row.on == models.Rule.Side.RESULT
    condition = condition_of(row.condition, row)
    if (masks or on_result) and _mentions(row.condition, "findings"):
        condition = Undecidable()  # conditions are worked out before the call: nobody knows the result's findings yet
    return Rule(
        policy_id=key(row.version.policy_id),
        policy=row.version.policy.name,
        version_id=key(row.version_id),
        version=row.version.number,
        position=row.position,
        effect=row.effect,
        tools=tuple(row.tools),
        condition=condition,
        reads_arguments=_mentions(row.condition, "args"),
        reads_content=not masks and (bool(row.findings) or on_result),
        reason=row.reason,
        connectors=tuple(row.connectors),
        data_classes=frozenset(row.data_classes),
        risks=frozenset(row.risks),
        access=row.access,
        fields=tuple(row.fields) if masks else (),
        terms=terms_of(row.approvers, row) if row.effect == models.Rule.Effect.ASK else None,
        on=row.on,
        findings=frozenset(row.findings),
        is_open=row.on_failure == models.Rule.OnFailure.OPEN,
        reversible=row.reversible,
        keep_last=row.keep_last,
    )


def terms_of(approvers: Mapping[str, Any], of: object) -> Terms:
    """Of what cannot be read nobody may approve anything."""
    try:
        return parse_terms(approvers)
    except (TermsError, TypeError, ValueError, AttributeError):
        logger.error("approvers of %s cannot be read: nobody can agree", of)
        return NOBODY


def condition_of(source: str, of: object) -> Condition | Undecidable | None:
    if not source:
        return None
    try:
        return _compiled(source)
    except ConditionError:
        logger.error("condition of %s does not compile: it counts as undecided", of)
        return Undecidable()


@lru_cache(maxsize=CONDITIONS_KEPT)
def _compiled(condition: str) -> Condition:
    """Compiling takes most of the time of reading a rule, and rules outlive snapshots. Raises ConditionError."""
    return compile_condition(condition)


def _mentions(condition: str, variable: str) -> bool:
    """Errs towards yes: a mention inside a string literal counts too."""
    return re.search(rf"\b{variable}\b", condition) is not None


def editions(only: Ids) -> dict[str, Edition]:
    """Bundle id -> its published version."""
    return _editions("published", only)


def staged_editions(only: Ids) -> dict[str, Edition]:
    """Bundle id -> its staged version."""
    return _editions("staged", only)


def _editions(state: str, only: Ids) -> dict[str, Edition]:
    rows = among(models.BundleVersion.objects.filter(state=state), "bundle_id", only).select_related(
        "bundle__retention"
    )
    rows = rows.prefetch_related("parents", "policies", "tools", "selections").order_by()
    return {key(row.bundle_id): edition_of(row) for row in rows}


def edition_of(row: models.BundleVersion) -> Edition:
    picks = [_pick("tool", entry) for entry in row.tools.all()]
    picks += [_pick(entry.kind, entry) for entry in row.selections.all()]
    return Edition(
        bundle_id=key(row.bundle_id),
        name=row.bundle.name,
        title=row.bundle.title,
        version_id=key(row.id),
        number=row.number,
        names=row.names,
        recording=row.recording,
        parent_ids=keys(row.parents.all()),
        policy_ids=keys(row.policies.all()),
        picks=tuple(sorted(picks, key=lambda pick: (pick.kind, pick.connector_id))),
        retention=row.bundle.retention.name if row.bundle.retention else "",
    )


def _pick(kind: str, entry: models.BundleTool | models.BundleSelection) -> Pick:
    return Pick(kind, key(entry.connector_id), tuple(entry.allow), tuple(entry.deny))
