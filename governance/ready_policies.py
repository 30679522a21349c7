"""Policies that come with Gatehouse: manifests in `ready/`, each one policy with its tests, numbered by edition, and
lower rates for runs that have met something.

They are added like any manifest; what is in force is the installation's own from then on, and may be changed. Rates
bind whoever calls, so they come with a policy when it binds everybody, and go with it.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from governance.facts import Recorder
from governance.manifest.apply import limit_columns, rule_rows
from governance.manifest.entries import LimitEntry
from governance.manifest.prepare import prepare, with_tools
from governance.manifest.rule_entries import PolicyEntry
from governance.manifest.schema import Manifest, Source, parse
from governance.manifest.state import stored_manifest
from governance.models import Organization, Policy, PolicyVersion, RateLimit, User
from governance.policies import publish_policy
from governance.second_person import check_organization_policies

FOLDER: Final = Path(__file__).with_name("ready")
NAMES: Final = ("baseline", "strict", "healthcare", "engineering")
DEFAULT: Final = "baseline"


class State(StrEnum):
    ABSENT = "absent"
    AS_SHIPPED = "as shipped"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Ready:
    """One of them, as it is shipped and as it stands here."""

    entry: PolicyEntry
    about: str
    """What it is for, in a sentence or two."""
    state: State
    limits: tuple[LimitEntry, ...] = ()
    """What comes with it when it binds everybody."""

    @property
    def name(self) -> str:
        return self.entry.name


def source(name: str) -> Source:
    return Source(f"{name}.yaml", (FOLDER / f"{name}.yaml").read_bytes())


def ready_policies() -> list[Ready]:
    here = {entry.name: entry for entry in stored_manifest().sections["policies"] if isinstance(entry, PolicyEntry)}
    return [
        Ready(shipped(name), _about(name), _state(shipped(name), here.get(name)), limits_of(name)) for name in NAMES
    ]


@cache
def shipped(name: str) -> PolicyEntry:
    (entry,) = _manifest(name).sections["policies"]
    assert isinstance(entry, PolicyEntry)
    return entry


@cache
def limits_of(name: str) -> tuple[LimitEntry, ...]:
    entries = _manifest(name).sections["limits"]
    return tuple(entry for entry in entries if isinstance(entry, LimitEntry))


def add(name: str, *, by: str, record: Recorder) -> PolicyVersion:
    """Puts it into force as it is shipped, in place of what stands here under its name; it binds nobody new. Raises
    plan.Refused where it does not fit the tools, and `lifecycle.Refused` where somebody else has to review it."""
    entry = shipped(name)
    prepared = with_tools(prepare(_manifest(name), values={}, prune=False), {})
    unchecked = prepared.plan.unchecked.get(name, frozenset())
    policy, _ = Policy.objects.get_or_create(name=name)
    Policy.objects.filter(pk=policy.pk).exclude(title=entry.title).update(title=entry.title)
    rules = rule_rows(entry, unchecked=unchecked)
    return publish_policy(policy, rules=rules, tests=entry.plain_tests(), by=by, record=record)


def bind_everybody(name: str) -> None:
    """Makes the policy one of the organisation's, whose rules take part in every call. Limits of these names that are
    here already stay as they are."""
    organization, _ = Organization.objects.get_or_create(is_only=True)
    organization.policies.add(Policy.objects.get(name=name))
    for entry in limits_of(name):
        RateLimit.objects.get_or_create(name=entry.name, defaults=limit_columns(entry))


def free_everybody(name: str, *, acting: User) -> None:
    """Undoes that: the policy stays, for those who use it otherwise; limits that somebody changed stay as well. Raises
    RuleBroken where changes of rules need a second person."""
    for organization in Organization.objects.filter(policies__name=name):
        check_organization_policies(organization, organization.policies.exclude(name=name), acting=acting)
        organization.policies.remove(*organization.policies.filter(name=name))
    for entry in limits_of(name):
        RateLimit.objects.filter(name=entry.name, **limit_columns(entry)).delete()


def install(*, by: str, record: Recorder) -> None:
    """The default, in force for everybody: what an installation begins with."""
    add(DEFAULT, by=by, record=record)
    bind_everybody(DEFAULT)


def _manifest(name: str) -> Manifest:
    return parse((source(name),), kinds=frozenset())


def _about(name: str) -> str:
    lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
    said = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    return " ".join(said).partition(": ")[2]


def _state(wanted: PolicyEntry, here: PolicyEntry | None) -> State:
    if here is None:
        return State.ABSENT
    is_same = (here.rules, here.tests) == (wanted.rules, wanted.tests)
    return State.AS_SHIPPED if is_same else State.DIFFERENT
