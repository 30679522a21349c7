"""Data classes and detectors of somebody else's, and what rests on them."""

from collections.abc import Iterator

from governance.inspection.findings import DATA_CLASS, DETECTOR
from governance.models import DataClass, ExternalDetector, Policy, PolicyVersion, Reaction, Rule
from governance.models.versions import OPEN

COUNTING = (*OPEN, PolicyVersion.State.PUBLISHED)


def finding_names() -> dict[str, str]:
    """What rules may name beside what everybody has, with its title."""
    rows = DataClass.objects.order_by("name").values_list("name", "title")
    own = {f"{DATA_CLASS}{name}": f"Data class {title or name}" for name, title in rows}
    detectors = ExternalDetector.objects.order_by("name").values_list("name", "title")
    return own | {f"{DETECTOR}{name}": f"Detector {title or name}" for name, title in detectors}


def sides_of_detectors() -> dict[str, str]:
    """What detectors are asked about, of those that are not asked about everything; by what rules call them."""
    rows = ExternalDetector.objects.exclude(side=ExternalDetector.Side.BOTH).values_list("name", "side")
    return {f"{DETECTOR}{name}": side for name, side in rows}


def named_by(finding: str) -> Iterator[str]:
    """Policies, in force or drafted, and reactions that name it."""
    rules = Rule.objects.filter(version__state__in=COUNTING).values_list("version__policy_id", "findings", "condition")
    policies = {policy for policy, findings, condition in rules if finding in findings or finding in condition}
    for name in Policy.objects.filter(pk__in=policies).order_by("name").values_list("name", flat=True):
        yield f"policy {name}"
    for name, findings in Reaction.objects.order_by("name").values_list("name", "findings"):
        if finding in findings:
            yield f"reaction {name}"


def stays_because(row: DataClass | ExternalDetector) -> str:
    """Why it cannot go; empty if it can."""
    users = ", ".join(named_by(f"{DETECTOR if isinstance(row, ExternalDetector) else DATA_CLASS}{row.name}"))
    return f"Rules name it: {users}. Take it out there first." if users else ""
