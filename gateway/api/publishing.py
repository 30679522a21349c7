"""Publishing over the wire is applying a manifest of one entry: the same checks, the same evidence."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from django.db.models import Max
from rest_framework.response import Response

from connectors.kinds import KINDS
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Work
from governance.manifest.apply import Overtaken, bundle_parts, carry_out, rule_rows
from governance.manifest.plan import Refused
from governance.manifest.prepare import Prepared, prepare, with_tools
from governance.manifest.reader import BadManifest, Fault
from governance.manifest.schema import API_VERSION, Manifest, Source, parse
from governance.models import Bundle, BundleVersion, Policy, PolicyVersion
from governance.snapshot_builder import Draft, as_if_saved

ATTEMPTS = 5


def publish(
    section: str,
    entry: Mapping[str, Any],
    *,
    governed: Callable[[Work], Response],
    answer: Callable[[bool], Response],
) -> Response:
    """Checks and plans outside the transaction, as long as it takes, and again when others were quicker.

    `answer` is told whether anything was new: publishing what is in force already changes nothing.
    """
    manifest = _manifest(section, entry)
    for _ in range(ATTEMPTS):
        prepared = _prepared(manifest)

        def work(act: Act, prepared: Prepared = prepared) -> Response:
            if not prepared.plan.is_empty:
                carry_out(prepared, values={}, catalogues={}, by=act.by, record=act.record, now=act.now)
            return answer(not prepared.plan.is_empty)

        try:
            return governed(work)
        except Overtaken:
            continue
    raise Problem("conflict", "Others kept changing the configuration; nothing was published. Try again.")


def bundle_draft(bundle: Bundle, content: Mapping[str, Any]) -> Draft:
    """The version that publishing this would make; checked as publishing does."""
    prepared = _prepared(_manifest("bundles", {"name": bundle.name, **content}))
    entry = prepared.plan.after["bundles"][bundle.name]
    version = BundleVersion(bundle=bundle, number=_next(bundle), names=entry.names, recording=entry.recording)
    return Draft(versions={bundle.pk.hex: as_if_saved(version, **bundle_parts(entry))})


def policy_draft(policy: Policy, content: Mapping[str, Any]) -> Draft:
    prepared = _prepared(_manifest("policies", {"name": policy.name, **content}))
    rules = rule_rows(prepared.plan.after["policies"][policy.name], unchecked=())
    version = PolicyVersion(policy=policy, number=_next(policy))
    for position, rule in enumerate(rules, start=1):
        rule.version, rule.position = version, position
    return Draft(rules={policy.pk.hex: rules})


def _next(row: Bundle | Policy) -> int:
    return (row.versions.aggregate(newest=Max("number"))["newest"] or 0) + 1


def _manifest(section: str, entry: Mapping[str, Any]) -> Manifest:
    content = orjson.dumps({"apiVersion": API_VERSION, section: [entry]})
    try:
        return parse([Source("request", content)], kinds=KINDS)
    except BadManifest as bad:
        raise _refused(section, bad.faults) from None


def _prepared(manifest: Manifest) -> Prepared:
    (section,) = manifest.sections
    try:
        return with_tools(prepare(manifest, values={}, prune=False), {})
    except Refused as refused:
        raise _refused(section, refused.faults) from None


def _refused(section: str, faults: tuple[Fault, ...]) -> Problem:
    prefix = f"{section}[0]."
    return of_fields(FieldError(fault.path.removeprefix(prefix), "rule", fault.message) for fault in faults)
