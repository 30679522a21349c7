"""One look at a directory's own list, from the request to its row. Nothing is open in the database meanwhile."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.actions import act
from gateway.fetching import NotFetched
from gateway.notices import directory_differs, directory_unread
from gateway.notices.delivery import opened
from gateway.notices.sending import Undelivered
from gateway.scim.door import Asked
from gateway.scim.pulling.comparing import Difference, differences
from gateway.scim.pulling.reading import Listed, read_list
from gateway.scim.serving import actor_of, serve
from governance import directory_pulls
from governance.directory_pulls import MOST_GONE, Compared
from governance.facts import Recorder
from governance.models import Directory, DirectoryRun

logger = logging.getLogger(__name__)

HINT = "its own list"
"""Where a message's row names the token it came by."""


def look_at_all() -> int:
    """Those that are due; how many were looked at. One that fails leaves the others alone."""
    return sum(look_at(directory) for directory in directory_pulls.due(datetime.now(UTC)))


def look_at(directory: Directory) -> bool:
    """False if another worker is at it, or was just now."""
    by = actor_of(directory)
    run = act(lambda record, now: directory_pulls.begin(directory, now=now), by=by)
    if run is None:
        return False
    try:
        listed = read_list(directory.pull_url, opened(directory.pull_secret))
    except (NotFetched, Undelivered) as reason:
        logger.warning("The list of %s could not be read: %s", directory.name, reason)
        _failed(run, str(reason), by=by)
        return True
    found = list(differences(directory, listed, gone_before=directory_pulls.gone_before(directory)))
    applied, refused = _set_right(directory, found) if directory.pull_applies else (0, 0)
    _finished(run, _compared(listed, found, applied, refused), by=by)
    return True


def _compared(listed: Listed, found: Sequence[Difference], applied: int, refused: int) -> Compared:
    return Compared(
        users=len(listed.users),
        groups=len(listed.groups),
        differences=[each.shown() for each in found],
        gone=[each.row_id for each in found if each.what in ("user gone", "group gone")],
        applied=applied,
        refused=refused,
    )


def _set_right(directory: Directory, found: Sequence[Difference]) -> tuple[int, int]:
    """As if the directory had sent it: the same transaction, brake and record of each message."""
    applied = refused = 0
    if sum(each.what == "user gone" for each in found) > MOST_GONE:
        found = [each for each in found if each.what != "user gone"]
    for each in found:
        statuses = [serve(_asked(directory, *message)).status_code for message in each.messages]
        refused += any(status >= 400 for status in statuses)
        applied += bool(statuses) and all(status < 400 for status in statuses)
    return applied, refused


def _asked(directory: Directory, method: str, path: str, body: dict[str, object]) -> Asked:
    def still_counts() -> bool:
        live = Directory.objects.select_for_update().filter(id=directory.id, is_enabled=True, pull_applies=True)
        return live.filter(pull_url=directory.pull_url, pull_secret=directory.pull_secret).first() is not None

    return Asked(
        directory=directory,
        hint=HINT,
        still_counts=still_counts,
        method=method,
        path=path,
        query={},
        headers={"Content-Type": "application/scim+json"},
        body=body or None,
        address="",
        at=datetime.now(UTC),
    )


def _finished(run: DirectoryRun, compared: Compared, *, by: str) -> None:
    def work(record: Recorder, now: datetime) -> None:
        if directory_pulls.finish(run, compared, record=record, now=now):
            directory_differs(run.directory, len(compared.differences), now=now)

    act(work, by=by)


def _failed(run: DirectoryRun, problem: str, *, by: str) -> None:
    def work(record: Recorder, now: datetime) -> None:
        if directory_pulls.fail(run, problem, record=record, now=now):
            directory_unread(run.directory, problem, now=now)

    act(work, by=by)
