"""One version before somebody who answers for it: what it changes, what stands against it, and the next step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from gateway import reviewing
from gateway.console.acting import act_in_epoch, since
from gateway.console.impact import impact_of
from gateway.console.publishing.pages import OfBundle, OfPolicy, VersionPage, version_url
from gateway.console.publishing.rollout import rollout_of
from gateway.hostile_text import visible
from gateway.versions import changes_between, compared_with, full_name, under
from governance import lifecycle, publishing
from governance.facts import Recorder
from governance.lifecycle import Refused, is_author, is_outdated
from governance.models import Agent
from governance.models.versions import OPEN, State
from governance.publishing import PAST, Gate, content_of, gate_of
from governance.version_diff import Change

TONES = {
    State.DRAFT: "warn",
    State.REVIEW: "warn",
    State.STAGED: "info",
    State.PUBLISHED: "good",
    State.SUPERSEDED: "",
    State.DISCARDED: "",
}
SIGNS = {"+": "New", "−": "Gone", "~": "Changed"}
DANGERS = {"high risk": "bad", "can change data": "warn"}
"""How what is new is marked; what goes harms nobody."""
PARTS = {
    "tools": "Tools",
    "patterns": "Patterns that give them",
    "inherits": "Inherited rules",
    "policies": "Policies",
    "names": "Names",
    "recording": "Evidence",
    "rules": "Rules",
    "tests": "Tests",
}
LATEST = 20
"""Versions listed beside this one."""
MOST_AGENTS = 2_000


@dataclass(frozen=True, slots=True)
class Line:
    """A change as it is shown; texts hold names of agents and upstreams."""

    tone: str
    word: str
    part: str
    before: str
    after: str
    note: str


@dataclass(frozen=True, slots=True)
class Step:
    """What somebody may do with a version in these states. `verb` is that of the permission."""

    among: tuple[State, ...]
    verb: str
    done: str


STEPS: Mapping[str, Step] = {
    "submit": Step((State.DRAFT,), "change", "is in review. Somebody else has to agree."),
    "send_back": Step((State.REVIEW,), "review", "is a draft again, with your note."),
    "discard": Step((State.DRAFT, State.REVIEW), "change", "is discarded."),
    "take_over": Step((State.DRAFT, State.REVIEW), "change", "goes on as a new draft on what is published now."),
    "stage": Step(OPEN, "publish", "is in force for the agents you chose."),
    "take_back": Step((State.STAGED,), "publish", "is taken back; its agents have the published version again."),
    "publish": Step(OPEN, "publish", "is published."),
    "roll_back": Step(PAST, "change", "is the draft of a new version."),
}
VERBS: Mapping[str, Callable[..., Any]] = {
    "submit": reviewing.submit,
    "send_back": lifecycle.send_back,
    "discard": lifecycle.discard,
    "take_over": publishing.take_over,
    "stage": publishing.stage,
    "take_back": lifecycle.take_back,
    "publish": publishing.publish,
    "roll_back": publishing.roll_back,
}
ONLY_OF_BUNDLES = ("stage", "take_back")
SELF_REVIEW = "You have written a part of it. Somebody else has to agree."


class Review(VersionPage):
    template_name = "console/publishing/review.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        version, other = self.version, compared_with(self.version)
        is_open = version.state in OPEN
        gate = gate_of(self.subject, content_of(version)) if is_open else Gate()
        return {
            **super().get_context_data(**kwargs),
            "title": f"{self.noun.capitalize()} {version}",
            "tone": TONES[State(version.state)],
            "other": other,
            "lines": [_line(change) for change in changes_between(other, version)],
            "impact": impact_of(lambda snapshot: under(version, snapshot)) if is_open else None,
            "is_open": is_open,
            "is_outdated": is_open and is_outdated(version),
            "gate": gate,
            "steps": {step: self.may_take(step) for step in STEPS},
            "wants_review": self.needs_review,
            "own": self.needs_review and version.state != State.DRAFT and is_author(version, self.person),
            "self_review": SELF_REVIEW,
            "rollout": rollout_of(version) if self.noun == "bundle" else None,
            "versions": self.subject.versions.order_by("-number")[:LATEST],
        }

    def may_take(self, step: str) -> bool:
        """The buttons that are shown; the verbs ask again."""
        wanted = STEPS[step]
        if self.version.state not in wanted.among or (step in ONLY_OF_BUNDLES and self.noun != "bundle"):
            return False
        if wanted.verb != "publish":
            return self.may(self.right_to(wanted.verb))
        is_too_early = self.needs_review and self.version.state == State.DRAFT
        is_own = self.needs_review and is_author(self.version, self.person)
        return self.may(self.right_to_publish) and not is_too_early and (step == "take_back" or not is_own)

    def post(self, request: HttpRequest, version_id: UUID) -> HttpResponse:
        step = request.POST.get("step", "")
        if step not in STEPS or (step in ONLY_OF_BUNDLES and self.noun != "bundle"):
            return redirect(request.path)
        verb = STEPS[step].verb
        if again := self.refuse_unless(self.right_to_publish if verb == "publish" else self.right_to(verb)):
            return again
        try:
            made, epoch = act_in_epoch(self._work(step, request.POST), by=self.by)
        except Refused as reason:
            messages.error(request, visible(str(reason)))
            return redirect(request.path)
        messages.success(request, f"{full_name(self.version).capitalize()} {STEPS[step].done}{since(epoch)}")
        return redirect(version_url(made or self.version))

    def _work(self, step: str, sent: Any) -> Callable[[Recorder, datetime], Any]:
        def work(record: Recorder, _: datetime) -> Any:
            return take(step, self.version, sent, by=self.by, record=record)

        return work


def take(step: str, version: Any, sent: Any, *, by: str, record: Recorder) -> Any:
    """As the form wishes; answers with the draft that was made, if one was. Raises Refused."""
    note, seen = sent.get("note", "")[:500], _number(sent.get("seen", ""))
    checked = {"seen": seen, "acknowledged": "acknowledged" in sent}
    wishes: dict[str, dict[str, Any]] = {
        "submit": {"summary": sent.get("summary", "")[:500], "seen": seen},
        "send_back": {"note": note},
        "take_back": {"note": note},
        "publish": checked,
        "stage": checked,
    }
    wish = wishes.get(step, {}) | ({"agents": _agents(sent.getlist("agents"))} if step == "stage" else {})
    return VERBS[step](version, **wish, by=by, record=record)


def _number(text: str) -> int:
    """What is no number was never shown, so it fits no revision."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


def _agents(names: list[str]) -> list[Agent]:
    found = list(Agent.objects.filter(name__in=names[:MOST_AGENTS]))
    if len(found) != len(set(names)):
        raise Refused("agents_missing", "One of these agents is not there any more. Choose again.", field="agents")
    return found


def _line(change: Change) -> Line:
    tone = "" if change.sign == "−" else DANGERS.get(change.note, "info")
    part = PARTS.get(change.part, change.part)
    return Line(tone, SIGNS[change.sign], part, visible(change.before), visible(change.after), change.note)


class ReviewBundle(OfBundle, Review):
    pass


class ReviewPolicy(OfPolicy, Review):
    pass
