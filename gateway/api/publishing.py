"""Publishing over the wire is applying a manifest of one entry: the same checks, the same evidence."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from rest_framework.response import Response

from connectors.kinds import KINDS
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Work
from governance.bundles import BundleContent
from governance.lifecycle import newest_number
from governance.manifest.apply import Overtaken, bundle_parts, carry_out, rule_rows
from governance.manifest.plan import Refused
from governance.manifest.prepare import Prepared, prepare, with_tools
from governance.manifest.reader import BadManifest, Fault
from governance.manifest.schema import API_VERSION, Manifest, Source, parse
from governance.models import Bundle, BundleVersion, Policy, PolicyVersion
from governance.policies import PolicyContent
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
                carry_out(
                    prepared,
                    values={},
                    catalogues={},
                    by=act.by,
                    record=act.record,
                    now=act.now,
                    is_manifest=False,
                )
            return answer(not prepared.plan.is_empty)

        try:
            return governed(work)
        except Overtaken:
            continue
    raise Problem("conflict", "Others kept changing the configuration; nothing was published. Try again.")


def bundle_content(bundle: Bundle, wish: Mapping[str, Any]) -> BundleContent:
    """Unsaved; checked as publishing does."""
    prepared = _prepared(_manifest("bundles", {"name": bundle.name, **wish}))
    entry = prepared.plan.after["bundles"][bundle.name]
    parts = {name: list(rows) for name, rows in bundle_parts(entry).items()}
    return BundleContent(**parts, names=entry.names, recording=entry.recording)


def policy_content(policy: Policy, wish: Mapping[str, Any]) -> PolicyContent:
    prepared = _prepared(_manifest("policies", {"name": policy.name, **wish}))
    entry = prepared.plan.after["policies"][policy.name]
    return PolicyContent(rule_rows(entry, unchecked=prepared.plan.unchecked.get(policy.name, ())), entry.plain_tests())


def bundle_draft(bundle: Bundle, wish: Mapping[str, Any]) -> Draft:
    """The version that publishing this would make."""
    content = bundle_content(bundle, wish)
    version = BundleVersion(
        bundle=bundle, number=newest_number(bundle) + 1, names=content.names, recording=content.recording
    )
    parts = ("tools", "selections", "parents", "policies")
    return Draft(versions={bundle.pk.hex: as_if_saved(version, **{part: getattr(content, part) for part in parts})})


def policy_draft(policy: Policy, wish: Mapping[str, Any]) -> Draft:
    rules = list(policy_content(policy, wish).rules)
    version = PolicyVersion(policy=policy, number=newest_number(policy) + 1)
    for position, rule in enumerate(rules, start=1):
        rule.version, rule.position = version, position
    return Draft(rules={policy.pk.hex: rules})


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
