"""Looks at a directory's own list: what it must be set up with, when one is due, and a row for each.

A look is under way while its row says so: no second one begins. What a worker left behind when it died is closed here.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from governance.destinations import may_send
from governance.facts import Fact, Recorder
from governance.issuers import is_issuer
from governance.models import Directory, DirectoryRun, Secret, User

State = DirectoryRun.State
LONGEST = timedelta(minutes=30)
"""Whoever reads for longer is taken for dead."""
KEPT_FOR = timedelta(days=90)
MOST_SHOWN = 200
MOST_GONE = 2_000
"""More who are gone at once are no change of staff: nothing follows from it, whoever agrees."""
CUT_OFF = "It did not end; the worker was stopped."
NOT_YOURS = "Only an owner, or who stored the token, may say where it is sent; or store it again as a new secret."

IN_WORDS = {
    "user not here": "there, but not here",
    "user gone": "here, but gone there",
    "user inactive": "active here, but inactive there",
    "user active": "inactive here, but active there",
    "user differs": "described otherwise there",
    "user unreadable": "described there in a way that cannot be read",
    "group not here": "a group that is not here",
    "group gone": "a group that is gone there",
    "group differs": "a group with another name there",
    "members differ": "a group with other people in it",
    "group unreadable": "a group that cannot be read",
}


@dataclass(frozen=True, slots=True)
class Compared:
    """What a look found. `gone` are ids of rows here of which the directory's own list says nothing."""

    users: int
    groups: int
    differences: Sequence[dict[str, Any]]
    gone: Sequence[str]
    applied: int = 0
    refused: int = 0


def pull_faults(url: str, secret: Secret | None, *, person: User, changed: bool) -> Iterator[tuple[str, str]]:
    """(field, what is wrong with it). The token goes where the address leads."""
    if url and (not is_issuer(url) or url.endswith("/")):
        yield "pull_url", "Write an https address without user, query and fragment, and without a slash at its end."
    if bool(url) != bool(secret):
        yield "pull_secret", "Write the address together with the token for it."
    if secret is None:
        return
    if secret.kind != Secret.Kind.BEARER:
        yield "pull_secret", "Choose a secret of the kind bearer token."
    if secret.connectors.exists() or secret.event_issuers.exists():
        yield "pull_secret", "This secret is shown to another system; make one of its own for this."
    elif changed and not may_send(secret, [url], person=person):
        yield "pull_secret", NOT_YOURS


def due(now: datetime) -> list[Directory]:
    """Those whose last look began long enough ago."""
    pulled = Directory.objects.filter(is_enabled=True).exclude(pull_url="").exclude(pull_secret=None)
    return [directory for directory in pulled.select_related("pull_secret") if _is_due(directory, now)]


def _is_due(directory: Directory, now: datetime) -> bool:
    last = directory.runs.order_by("-id").first()
    if last is None:
        return True
    wait = LONGEST if last.state == State.RUNNING else timedelta(minutes=directory.pull_minutes)
    return now - last.started_at >= wait


def begin(directory: Directory, *, now: datetime) -> DirectoryRun | None:
    """None if another worker was first."""
    Directory.objects.select_for_update().get(id=directory.id)
    left = directory.runs.filter(state=State.RUNNING, started_at__lte=now - LONGEST)
    left.update(state=State.FAILED, ended_at=now, problem=CUT_OFF)
    if not _is_due(directory, now):
        return None
    return DirectoryRun.objects.create(directory=directory, started_at=now)


def gone_before(directory: Directory) -> set[str]:
    """Who was gone at the last look that read everything."""
    last = directory.runs.filter(state=State.DONE).order_by("-id").first()
    return set(last.gone) if last else set()


def fail(run: DirectoryRun, problem: str, *, record: Recorder, now: datetime) -> bool:
    """True if the look before it went well: somebody is to be told."""
    if not _end(run, state=State.FAILED, ended_at=now, problem=problem[:500]):
        return False
    record(Fact("directory.compare_failed", f"directory:{run.directory.name}", {"problem": problem[:500]}))
    before = _before(run)
    return before is None or before.state == State.DONE


def finish(run: DirectoryRun, compared: Compared, *, record: Recorder, now: datetime) -> bool:
    """True if it found what the look before did not: somebody is to be told."""
    shown = list(compared.differences[:MOST_SHOWN])
    total = len(compared.differences)
    counts = {
        "users": compared.users,
        "groups": compared.groups,
        "found": total,
        "applied": compared.applied,
        "refused": compared.refused,
    }
    gone = list(compared.gone[:MOST_GONE])
    if not _end(run, state=State.DONE, ended_at=now, differences=shown, gone=gone, **counts):
        return False
    record(Fact("directory.compared", f"directory:{run.directory.name}", {**counts, "kinds": _kinds(shown)}))
    before = _before(run)
    return bool(total) and (before is None or (before.found, _places(before.differences)) != (total, _places(shown)))


def forget_runs(now: datetime) -> int:
    return DirectoryRun.objects.filter(started_at__lt=now - KEPT_FOR).delete()[0]


def _end(run: DirectoryRun, **columns: Any) -> bool:
    """False if somebody took it for dead in the meantime."""
    return bool(DirectoryRun.objects.filter(id=run.id, state=State.RUNNING).update(**columns))


def _before(run: DirectoryRun) -> DirectoryRun | None:
    return DirectoryRun.objects.filter(directory_id=run.directory_id, id__lt=run.id).order_by("-id").first()


def _places(differences: Collection[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["what"], each["who"]) for each in differences]


def _kinds(differences: Collection[dict[str, Any]]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for each in differences:
        counted[each["what"]] = counted.get(each["what"], 0) + 1
    return counted
