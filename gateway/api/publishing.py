"""Publishing over the wire is applying a manifest of one entry: the same checks, the same evidence."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from rest_framework.response import Response

from connectors.kinds import KINDS
from gateway.api.problems import FieldError, Problem, of_fields
from gateway.api.resource import Act, Work
from governance.manifest.apply import Overtaken, carry_out
from governance.manifest.plan import Refused
from governance.manifest.prepare import Prepared, prepare, with_tools
from governance.manifest.reader import BadManifest, Fault
from governance.manifest.schema import API_VERSION, Manifest, Source, parse

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
