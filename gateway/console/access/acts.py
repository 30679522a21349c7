"""What humans do to one agent. Each act first shows what it will do, then does it with its evidence."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect

from gateway import actions
from gateway.console.access.agent_pages import AgentPage
from gateway.console.acting import act_in_epoch, since
from gateway.console.wording import counted
from gateway.hostile_text import visible
from governance.agent_keys import NotIssuable
from governance.agents import CannotTransfer
from governance.freezes import LASTING, FreezeTarget, NoSuchTarget
from governance.models import Agent, User


class NothingToSay(forms.Form):
    """For acts that need no more than a yes."""


class FreezeForm(forms.Form):
    reason = forms.CharField(max_length=500, help_text="Whoever meets the freeze reads this.")
    lasting = forms.ChoiceField(label="For how long", choices=tuple(LASTING.items()), required=False)


class TransferForm(forms.Form):
    to = forms.EmailField(label="E-mail of the new owner", help_text="An active person. She answers for the agent.")
    ends_keys = forms.BooleanField(
        label="End its keys",
        required=False,
        initial=True,
        help_text="The former owner may have kept them. Issue a new key afterwards.",
    )

    def clean_to(self) -> User:
        person = User.objects.filter(email__iexact=self.cleaned_data["to"], is_active=True).first()
        if person is None:
            raise ValidationError("There is no active person with this e-mail.")
        return person


class ActPage(AgentPage, ABC):
    """A GET shows the effects, a POST brings them about."""

    template_name = "console/access/act.html"
    http_method_names = ("get", "post", "head", "options")
    form_class: ClassVar[type[forms.Form]] = NothingToSay
    verb: ClassVar[str]
    tone: ClassVar[str] = "main"

    def impossible(self) -> str:
        """Why this cannot be done to the agent as it is; empty if it can."""
        return ""

    @abstractmethod
    def effects(self) -> Iterable[str]:
        """What will be, in sentences."""

    @abstractmethod
    def act(self, form: Any) -> HttpResponseBase:
        """Does it, as the valid form wishes. Raises what the verbs raise."""

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=self.form_class(self.request.POST)))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = self.form_class(request.POST)
        if self.impossible() or not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form), status=400)
        try:
            return self.act(form)
        except (CannotTransfer, NoSuchTarget, NotIssuable) as reason:
            form.add_error(None, str(reason))
            return self.render_to_response(self.get_context_data(form=form), status=400)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {
            "form": self.form_class(),
            "verb": self.verb,
            "tone": self.tone,
            "impossible": self.impossible(),
            "effects": list(self.effects()),
            **super().get_context_data(**{"title": f"{self.verb} {self.agent.name}?", **kwargs}),
        }


class PlainAct(ActPage):
    """Leads back to the agent, with a sentence and the epoch since which it is in force."""

    def act(self, form: Any) -> HttpResponseBase:
        done, epoch = act_in_epoch(lambda record, now: self.perform(form, by=self.by), by=self.by)
        messages.success(self.request, f"{done}{since(epoch)}")
        return redirect("agent_overview", self.agent.pk)

    @abstractmethod
    def perform(self, form: forms.Form, *, by: str) -> str:
        """Does it and says what was done."""


class Suspend(PlainAct):
    permission = "governance.change_agent"
    verb = "Suspend"
    tone = "danger"

    def impossible(self) -> str:
        return "" if self.agent.status == Agent.Status.LIVE else f"The agent is {self.agent.status}."

    def effects(self) -> Iterable[str]:
        yield "No further call of it starts, from the moment you confirm."
        yield f"It keeps {counted(self.live_keys().count(), 'live key')}, for when it is resumed."

    def perform(self, form: forms.Form, *, by: str) -> str:
        changed = actions.suspend_agent(self.agent, by=by)
        return f"{self.agent.name} is suspended." if changed else f"{self.agent.name} was not live any more."


class Resume(PlainAct):
    permission = "governance.change_agent"
    verb = "Resume"

    def impossible(self) -> str:
        return "" if self.agent.status == Agent.Status.SUSPENDED else f"The agent is {self.agent.status}."

    def effects(self) -> Iterable[str]:
        yield "It can call again at once, as far as its roles and rules allow."
        yield f"It has {counted(self.live_keys().count(), 'live key')}."
        if not self.agent.owner.is_active:
            yield "Its owner is not active, so it stays refused until somebody else owns it."

    def perform(self, form: forms.Form, *, by: str) -> str:
        changed = actions.resume_agent(self.agent, by=by)
        return f"{self.agent.name} is live again." if changed else f"{self.agent.name} was not suspended any more."


class Freeze(PlainAct):
    permission = "governance.add_freeze"
    form_class = FreezeForm
    verb = "Freeze"
    tone = "danger"

    def impossible(self) -> str:
        return "A retired agent is refused anyway." if self.agent.status == Agent.Status.RETIRED else ""

    def effects(self) -> Iterable[str]:
        yield "No further call of it starts, from the moment you confirm."
        yield "The freeze ends by itself, if you say when, or when somebody lifts it. Keys and roles stay."

    def perform(self, form: forms.Form, *, by: str) -> str:
        seconds = form.cleaned_data["lasting"]
        lasting = timedelta(seconds=int(seconds)) if seconds else None
        target = FreezeTarget(agent=self.agent.name)
        actions.freeze(target, by=by, lasting=lasting, reason=form.cleaned_data["reason"])
        return f"{self.agent.name} is frozen: {LASTING[seconds]}."


class Unfreeze(PlainAct):
    permission = "governance.change_freeze"
    verb = "Unfreeze"

    def impossible(self) -> str:
        return "" if self.freezes().exists() else "No freeze of this agent is in force."

    def effects(self) -> Iterable[str]:
        yield f"Lifts {counted(self.freezes().count(), 'freeze')} of this agent."
        yield "It can call again at once, as far as its roles and rules allow."

    def perform(self, form: forms.Form, *, by: str) -> str:
        lifted = actions.unfreeze(FreezeTarget(agent=self.agent.name), by=by)
        return f"{counted(lifted, 'freeze')} lifted."


class Transfer(PlainAct):
    permission = "governance.transfer_agent"
    form_class = TransferForm
    verb = "Transfer"

    def impossible(self) -> str:
        return "A retired agent keeps its last owner." if self.agent.status == Agent.Status.RETIRED else ""

    def effects(self) -> Iterable[str]:
        yield f"{visible(self.agent.owner.email)} no longer answers for it; the new owner does."
        yield f"It has {counted(self.live_keys().count(), 'live key')}. None works on, unless you decide otherwise."
        yield "Rules of the new owner's teams bind it from then on, and those of the former owner's do not."

    def perform(self, form: forms.Form, *, by: str) -> str:
        to, ends_keys = form.cleaned_data["to"], form.cleaned_data["ends_keys"]
        ended = actions.transfer_agent(self.agent, to=to, ends_keys=ends_keys, by=by)
        return f"{self.agent.name} is {visible(to.email)}'s now; {counted(ended, 'key')} ended."


class Retire(PlainAct):
    permission = "governance.retire_agent"
    verb = "Retire"
    tone = "danger"

    def impossible(self) -> str:
        return "It is retired already." if self.agent.status == Agent.Status.RETIRED else ""

    def effects(self) -> Iterable[str]:
        yield "It is refused for good. This cannot be undone; its name stays taken and its evidence stays."
        yield f"It has {counted(self.live_keys().count(), 'live key')}. None works on."

    def perform(self, form: forms.Form, *, by: str) -> str:
        ended = actions.retire_agent(self.agent, by=by)
        return f"{self.agent.name} is retired; {counted(ended, 'key')} ended."
