"""Emergency rotation: chosen, looked at with its counts, then done, with a receipt that shows a new key once."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables

from gateway import rotations
from gateway.console.once import OnceForm, ShownAlready, make_once
from gateway.console.pages import GovernedPage
from gateway.console.wording import counted
from governance import emergency
from governance.agent_keys import NotIssuable
from governance.emergency import Found, NoSuchTarget, Target
from governance.models import Agent
from governance.rotation import LONGEST_NOTE

EVERYTHING = "everything"
WHAT = (
    ("agent", "One agent"),
    ("team", "All agents of a team"),
    ("connector", "The secret of a connector"),
    (EVERYTHING, "Everything"),
)
WORDS = {
    "key": "agent key",
    "client_secret": "client secret",
    "public_key": "public key",
    "workload": "workload identity",
    "authorizations": "authorization",
    "secrets": "secret of connectors",
    "personal_tokens": "personal token",
}
PLURALS = {"workload": "workload identities", "secrets": "secrets of connectors"}
NAMES_SHOWN = 50


class ChooseForm(forms.Form):
    what = forms.ChoiceField(choices=WHAT)
    name = forms.CharField(
        required=False,
        max_length=63,
        help_text="Of the agent, team or connector, as its list shows it. Leave it empty for everything.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if (cleaned.get("what") == EVERYTHING) == bool(cleaned.get("name")):
            raise ValidationError("Name one agent, team or connector, or choose everything without a name.")
        return cleaned

    def target(self) -> Target:
        what, name = self.cleaned_data["what"], self.cleaned_data["name"]
        return Target() if what == EVERYTHING else Target(**{what: name})


class CutForm(ChooseForm, OnceForm):
    reason = forms.CharField(
        max_length=LONGEST_NOTE, help_text="Whoever has to replace something reads it, and the evidence keeps it."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["what"].widget = self.fields["name"].widget = forms.HiddenInput()


@method_decorator(sensitive_variables("done", "context"), name="post")
class EmergencyRotation(GovernedPage):
    """Without a choice it asks for one; with it, it shows what would end; the POST ends it."""

    permission = emergency.PERMISSION
    title = "Emergency rotation"
    template_name = "console/rotating/emergency.html"
    http_method_names = ("get", "post", "head", "options")

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.GET:
            return self.render_to_response(self.get_context_data(form=ChooseForm()))
        form = ChooseForm(request.GET)
        if not form.is_valid() or (found := self._found(form)) is None:
            return self.render_to_response(self.get_context_data(form=form), status=400)
        asked = CutForm(initial=form.cleaned_data)
        return self.render_to_response(self.get_context_data(form=asked, found=found))

    def as_typed(self) -> HttpResponse:
        form = CutForm(self.request.POST)
        found = self._found(form) if form.is_valid() else None
        return self.render_to_response(self.get_context_data(form=form, found=found))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = CutForm(request.POST)
        if not form.is_valid() or self._found(form) is None:
            return self.render_to_response(self.get_context_data(form=form), status=400)
        target, reason = form.target(), form.cleaned_data["reason"]
        try:
            done = make_once(
                lambda: rotations.in_emergency(target, reason=reason, by=self.by, issues_key=goes_on(target)),
                ticket=form.cleaned_data["once"],
                by=self.by,
                told=_told,
            )
        except ShownAlready as shown:
            messages.warning(request, str(shown))
            return redirect("emergency_rotation")
        except (NoSuchTarget, NotIssuable) as problem:
            form.add_error(None, str(problem))
            return self.render_to_response(self.get_context_data(form=form), status=400)
        context = self.get_context_data(done=done, found=done.found, title="It is done")
        return self.response_class(request, ["console/rotating/done.html"], context)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        found: Found | None = kwargs.get("found")
        if found is None:
            return super().get_context_data(**kwargs)
        told = list(effects(found, is_done="done" in kwargs))
        names = found.agents[:NAMES_SHOWN]
        return super().get_context_data(effects=told, names=names, target=in_words(found.target), **kwargs)

    def _found(self, form: ChooseForm) -> Found | None:
        try:
            return emergency.find(form.target(), now=datetime.now(UTC))
        except NoSuchTarget as problem:
            form.add_error("name", f"{problem} Its list shows the name; look also at what is chosen above.")
            return None


def goes_on(target: Target) -> bool:
    """A live agent gets a new key in the same act."""
    return Agent.objects.filter(name=target.agent, status=Agent.Status.LIVE, owner__is_active=True).exists()


def effects(found: Found, *, is_done: bool = False) -> Iterator[str]:
    counts = found.counts()
    for what, word in WORDS.items():
        if count := counts.get(what, 0):
            thing = f"{count} {PLURALS[what]}" if count > 1 and what in PLURALS else counted(count, word)
            yield f"{thing} {'ended' if is_done else 'ends' if count == 1 else 'end'}."
    if found.connectors:
        yield f"Calls to {', '.join(found.connectors[:NAMES_SHOWN])} are refused until the secret has a new value."
    if found.suspends and found.agents:
        is_one = len(found.agents) == 1
        was = "" if is_done else " is" if is_one else " are"
        until = "somebody resumes it" if is_one else "somebody resumes each"
        yield f"{counted(len(found.agents), 'agent')}{was} suspended until {until} and issues a new key."
    if not is_done and goes_on(found.target):
        yield "The agent gets a new key in the same moment. It is shown once, on the next page."
    if not counts:
        yield "Nothing of it is live."


def in_words(target: Target) -> str:
    if target.is_everything:
        return "all agents, connectors and people of this installation"
    of_team = f"all agents of the team {target.team}" if target.team else ""
    of_connector = f"the secret of the connector {target.connector}" if target.connector else ""
    return of_team or of_connector or f"the agent {target.agent}"


def _told(done: rotations.Cut) -> str:
    if done.issued is None:
        return f"the emergency rotation of {done.found.target} at {done.at:%H:%M:%S} UTC"
    return f"the new key's id is {done.issued.credential.pk}, and it begins with {done.issued.credential.hint}…"
