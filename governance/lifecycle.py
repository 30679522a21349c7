"""How a version of a bundle or policy comes into force: draft, review, staged to some agents, published.

Each verb is one conditional UPDATE and one fact in the caller's transaction. A version is written only while it is a
draft. Where the organisation wants a second person, nobody publishes, stages or promotes what she has written a part
of, through whichever of her accounts: superusers included.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from django.db.models import Exists, Max, Subquery
from django.db.models.functions import Now

from governance.facts import Fact, Recorder
from governance.house_rules import RuleBroken
from governance.models import Agent, Bundle, BundleVersion, Organization, Policy, PolicyVersion, User
from governance.models.versions import OPEN, State

Subject = Bundle | Policy
Version = BundleVersion | PolicyVersion
PERSON = "person:"
MOST_ALIASES = 8
"""Accounts of one human that refer to each other in a row."""


class Refused(RuleBroken):
    """The version cannot take this step. `code` is stable: for the API."""

    def __init__(self, code: str, message: str, *, field: str = "") -> None:
        super().__init__(field, message)
        self.code = code


class Content(Protocol):
    """What a version says, apart from how it came to be."""

    def plain(self) -> dict[str, Any]:
        """As a manifest writes it."""

    def write(self, version: Any) -> None:
        """Into this version, in place of what it held."""


def subject_of(version: Version) -> Subject:
    return version.bundle if isinstance(version, BundleVersion) else version.policy


def noun_of(row: Subject | Version) -> str:
    return "bundle" if isinstance(row, Bundle | BundleVersion) else "policy"


def open_version(subject: Subject) -> Any:
    """The one on its way: draft, in review or staged. None if there is none."""
    return subject.versions.filter(state__in=OPEN).first()


def version_in_force(subject: Subject) -> Any:
    return subject.versions.filter(state=State.PUBLISHED).first()


def draft_of(subject: Subject) -> Any:
    return subject.versions.filter(state=State.DRAFT).first()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where something stands before it is edited. `start` is what a form begins with: the draft, else what is in force,
    else the last that was; None for something new. `newest` is the highest number there is."""

    start: Any = None
    is_in_force: bool = False
    newest: int = 0
    needs_review: bool = False

    @property
    def draft(self) -> Any:
        return self.start if self.start is not None and self.start.state == State.DRAFT else None


def standing(subject: Subject, *parts: str) -> Standing:
    """`parts` are the relations of the version that are read too: all in one query, and one for each part."""
    newest = subject.versions.order_by("-number").values("number")[:1]
    wanting = Exists(Organization.objects.filter(requires_review=True))
    rows = subject.versions.annotate(newest=Subquery(newest), needs_review=wanting).prefetch_related(*parts)
    found: dict[str, Any] = {row.state: row for row in rows.filter(state__in=(State.DRAFT, State.PUBLISHED))}
    was = rows.filter(state=State.SUPERSEDED).order_by("-number")
    start: Any = found.get(State.DRAFT) or found.get(State.PUBLISHED) or was.first()
    if start is None:
        return Standing(newest=newest_number(subject), needs_review=review_is_required())
    return Standing(start, State.PUBLISHED in found, start.newest, start.needs_review)


def newest_number(subject: Subject) -> int:
    return subject.versions.aggregate(number=Max("number"))["number"] or 0


def review_is_required() -> bool:
    return Organization.objects.filter(requires_review=True).exists()


# -- drafts


def save_draft(
    subject: Subject, content: Content, *, seen: int | None = None, summary: str = "", by: str, record: Recorder
) -> Any:
    """Into the open draft, or a new one based on what is in force. `seen` is the draft's revision that was edited."""
    _hold(subject)
    draft = open_version(subject)
    if draft is None:
        draft = _new_version(subject, State.DRAFT, based_on=_number_in_force(subject), by=by)
        record(Fact(f"{noun_of(subject)}.drafted", _named(subject), {"version": draft.number}))
    _claim(draft, by=by, seen=seen, **({"summary": summary} if summary else {}))
    content.write(draft)
    draft.refresh_from_db()
    return draft


def _claim(draft: Any, *, by: str, seen: int | None, **columns: Any) -> None:
    """As one of its authors. Raises Refused when it is no draft any more, or not the one that was edited."""
    authors = _authors(draft, by)
    among = {} if seen is None else {"revision": seen}
    drafts = type(draft).objects.filter(pk=draft.pk, state=State.DRAFT, **among)
    if not drafts.update(authors=authors, revision=draft.revision + 1, **columns):
        raise _elsewhere(draft)


def _elsewhere(version: Any) -> Refused:
    version.refresh_from_db()
    if version.state == State.DRAFT:
        return Refused("overtaken", f"Somebody else changed the draft v{version.number} meanwhile. Look at it again.")
    state = version.get_state_display().lower()
    return Refused("wrong_state", f"Version {version.number} is {state}; this cannot be done with it now.")


def discard(version: Any, *, by: str, record: Recorder) -> None:
    """A draft, or one in review, goes no further. It stays in the history."""
    _hold(subject_of(version))
    _move(version, among=(State.DRAFT, State.REVIEW), to=State.DISCARDED)
    record(_fact("discarded", version))


def submit(version: Any, *, summary: str, seen: int, by: str, record: Recorder) -> None:
    """For review; from now on nobody edits it. `seen` is the revision that was looked at."""
    _hold(subject_of(version))
    if not summary.strip():
        raise Refused("summary_missing", "Say in a sentence what changes, and why.", field="summary")
    _check_base(version)
    columns = {"summary": summary.strip(), "submitted_at": Now(), "submitted_by": by, "review_note": ""}
    _move(version, among=(State.DRAFT,), to=State.REVIEW, seen=seen, authors=_authors(version, by), **columns)
    record(_fact("submitted", version, summary=summary.strip()))


def send_back(version: Any, *, note: str, by: str, record: Recorder) -> None:
    """To its authors, as a draft again."""
    _hold(subject_of(version))
    if not note.strip():
        raise Refused("note_missing", "Say what has to change.", field="note")
    note = note.strip()
    _move(version, among=(State.REVIEW,), to=State.DRAFT, reviewed_at=Now(), reviewed_by=by, review_note=note)
    record(_fact("sent_back", version, note=note))


# -- into force


def stage(version: BundleVersion, agents: Iterable[Agent], *, seen: int, by: str, record: Recorder) -> None:
    """In force for these agents only; for all others the published version stays."""
    chosen = list(agents)
    _hold(version.bundle)
    if not chosen:
        raise Refused("agents_missing", "Choose the agents that get it first.", field="agents")
    _check_base(version)
    _move(version, among=_ready(version, by), to=State.STAGED, seen=seen, **_reviewed(version, by))
    version.staged_agents.set(chosen)
    record(_fact("staged", version, agents=sorted(agent.name for agent in chosen)))


def take_back(version: BundleVersion, *, note: str, by: str, record: Recorder) -> None:
    """Its agents get the published version again. What was staged is history: going on takes a new draft."""
    _hold(version.bundle)
    _move(version, among=(State.STAGED,), to=State.SUPERSEDED, review_note=note.strip())
    version.staged_agents.clear()
    record(_fact("taken_back", version, note=note.strip()))


def publish(version: Any, *, seen: int, by: str, record: Recorder) -> None:
    """In force for all, in place of what it was based on. Its findings were looked at before, see `publishing.py`."""
    _hold(subject_of(version))
    among = _ready(version, by)
    _check_base(version)
    _supersede(subject_of(version))
    _move(version, among=among, to=State.PUBLISHED, seen=seen, published_at=Now(), **_reviewed(version, by))
    if isinstance(version, BundleVersion):
        version.staged_agents.clear()
    record(_fact("published", version, authors=_emails(version.authors)))


def publish_at_once(subject: Subject, content: Content, *, by: str, record: Recorder, is_manifest: bool = False) -> Any:
    """Draft and publication in one step, beside whatever draft is open: that one is then based on what is past.

    A manifest is reviewed where it is kept: of the review this leaves out, if one is required, the evidence tells.
    """
    _hold(subject)
    based_on, unreviewed = _number_in_force(subject), review_is_required()
    if unreviewed and not is_manifest:
        raise Refused("review_required", "Somebody else has to review this before it is published. Save a draft.")
    _supersede(subject)
    version = _new_version(subject, State.PUBLISHED, based_on=based_on, by=by, published_at=Now())
    content.write(version)
    record(_fact("published", version, **({"unreviewed": True} if unreviewed else {})))
    return version


def withdraw(subject: Subject, *, record: Recorder) -> bool:
    """Nothing of it is in force any more; its history stays. False if nothing was."""
    in_force = subject.versions.filter(state__in=(State.PUBLISHED, State.STAGED))
    if isinstance(subject, Bundle):
        for version in subject.versions.filter(state=State.STAGED):
            version.staged_agents.clear()
    if not in_force.update(state=State.SUPERSEDED):
        return False
    record(Fact(f"{noun_of(subject)}.withdrawn", _named(subject)))
    return True


def is_outdated(version: Any) -> bool:
    """What it was begun on is no longer what is in force."""
    return bool(version.based_on != _number_in_force(subject_of(version)))


# -- who


def is_author(version: Any, person: User) -> bool:
    """Is she one of the humans who wrote it, through whichever account?"""
    authors = User.objects.filter(pk__in=version.authors)
    humans = {_human(author) for author in authors} | {UUID(author) for author in version.authors}
    return _human(person) in humans or person.pk in humans


def _human(person: User) -> UUID:
    """The main account, also where accounts refer to it one through the other."""
    known = {person.pk}
    for _ in range(MOST_ALIASES):
        if person.same_as is None or person.same_as.pk in known:
            break
        person = person.same_as
        known.add(person.pk)
    return person.pk


def _person(by: str) -> User | None:
    email = by.removeprefix(PERSON)
    return User.objects.filter(email__iexact=email).first() if by != email else None


def _authors(version: Any, by: str) -> list[str]:
    person = _person(by)
    own = [str(person.pk)] if person else []
    return [*version.authors, *(each for each in own if each not in version.authors)]


def _emails(authors: Collection[str]) -> list[str]:
    return sorted(User.objects.filter(pk__in=authors).values_list("email", flat=True))


def _ready(version: Any, by: str) -> tuple[State, ...]:
    """The states from which it may go into force for more agents, with this person's yes."""
    if not review_is_required():
        return OPEN
    if version.state == State.DRAFT:
        raise Refused("review_required", "Submit it for review first: somebody else has to agree.")
    _check_reviewer(version, by)
    return (State.REVIEW, State.STAGED)


def _reviewed(version: Any, by: str) -> dict[str, Any]:
    """Only somebody else's look is a review."""
    person = _person(by)
    return {"reviewed_at": Now(), "reviewed_by": by} if person and not is_author(version, person) else {}


def _check_reviewer(version: Any, by: str) -> None:
    person = _person(by)
    if person is None:
        raise Refused("review_required", "A person has to review this; a command cannot.")
    if is_author(version, person):
        raise Refused("self_review", "You have written a part of it. Somebody else has to review it.")


# -- rows


def _hold(subject: Subject) -> None:
    """Until the transaction ends nobody else publishes or drafts."""
    type(subject)._default_manager.select_for_update().get(pk=subject.pk)


def _new_version(subject: Subject, state: State, *, based_on: int, by: str, **columns: Any) -> Any:
    version: Any = subject.versions.create(
        number=newest_number(subject) + 1, state=state, based_on=based_on, created_by=by, **columns
    )
    version.authors = _authors(version, by)
    version.save(update_fields=("authors",))
    return version


def _check_base(version: Any) -> None:
    if version.state not in OPEN:
        raise _elsewhere(version)
    if is_outdated(version):
        number = _number_in_force(subject_of(version))
        now = f"v{number} is published" if number else "nothing is published any more"
        before = f"on v{version.based_on}" if version.based_on else "before anything was published"
        message = f"This draft was begun {before}; meanwhile {now}. Take its changes over, and look at them again."
        raise Refused("overtaken", message)


def _number_in_force(subject: Subject) -> int:
    return subject.versions.filter(state=State.PUBLISHED).values_list("number", flat=True).first() or 0


def _supersede(subject: Subject) -> int:
    return subject.versions.filter(state=State.PUBLISHED).update(state=State.SUPERSEDED)


def _move(version: Any, *, among: Collection[State], to: State, seen: int | None = None, **columns: Any) -> None:
    """One conditional UPDATE: whoever comes second is told."""
    rows = type(version).objects.filter(pk=version.pk, state__in=among)
    if seen is not None:
        rows = rows.filter(revision=seen)
    if not rows.update(state=to, **columns):
        raise _elsewhere(version)
    version.refresh_from_db()


def _named(subject: Subject) -> str:
    return f"{noun_of(subject)}:{subject.name}"


def _fact(event: str, version: Any, **details: Any) -> Fact:
    return Fact(f"{noun_of(version)}.{event}", _named(subject_of(version)), {"version": version.number, **details})
