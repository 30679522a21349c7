"""A person's own requests for access: what she may ask for, what she asked, and what she has for a time.

Whether it is given is for others to decide; ending what is hers, and withdrawing what she asked, is hers alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, redirect

from gateway import approving, granting
from gateway.console.acting import person_of
from gateway.console.approvals.shown import STATES
from gateway.console.me import OwnPage
from gateway.hostile_text import visible
from governance.access_requests import LONGEST_MINUTES, AccessWish
from governance.approval_rows import CannotDecide, state_at
from governance.approvals import TooManyQuestions
from governance.grants import CannotGrant, in_force
from governance.models import Agent, ApprovalRequest, Bundle, Grant, Tool, User

SHOWN = 30
MINUTES = ((30, "30 minutes"), (60, "1 hour"), (240, "4 hours"), (480, "8 hours"), (LONGEST_MINUTES, "24 hours"))
BUSY = "The system was busy and nothing was saved. Please try again."


class TimeForm(forms.Form):
    minutes = forms.TypedChoiceField(coerce=int, choices=MINUTES, initial=60, label="For how long")
    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        label="What for",
        help_text="A human reads this and decides by it.",
    )


class AccessForm(TimeForm):
    """`agent` is the name of one of hers, or empty for herself; `bundle` and `tool` are names."""

    agent = forms.ChoiceField(label="For whom", required=False)
    bundle = forms.CharField(max_length=63, label="Which bundle", help_text="Its name, as in the message you got.")
    tool = forms.CharField(
        max_length=200,
        required=False,
        label="Only this tool of it",
        help_text="As in helpdesk/billing_refund. Leave it empty for the whole bundle.",
    )
    ticket = forms.CharField(max_length=100, required=False, help_text="If there is one.")

    field_order = ("agent", "bundle", "tool", "minutes", "reason", "ticket")

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person
        names = person.agents.filter(status=Agent.Status.LIVE).order_by("name").values_list("name", flat=True)
        choices = [("", "Myself"), *((name, name) for name in names)]
        self.fields["agent"].choices = choices  # type: ignore[attr-defined]

    def clean_bundle(self) -> Bundle:
        bundle = Bundle.objects.filter(name=self.cleaned_data["bundle"].strip()).first()
        if bundle is None:
            raise ValidationError("There is no bundle of this name.")
        return bundle

    def clean_tool(self) -> Tool | None:
        connector, _, name = self.cleaned_data["tool"].strip().partition("/")
        if not connector:
            return None
        tool = Tool.objects.select_related("connector").filter(connector__name=connector, name=name).first()
        if tool is None:
            raise ValidationError("There is no tool of this name. Write it as in helpdesk/billing_refund.")
        return tool

    @property
    def wish(self) -> AccessWish:
        wanted = self.cleaned_data
        agent = self.person.agents.get(name=wanted["agent"]) if wanted["agent"] else None
        return AccessWish(
            agent=agent,
            person=None if agent else self.person,
            bundle=wanted["bundle"],
            tool=wanted["tool"],
            minutes=wanted["minutes"],
            reason=wanted["reason"],
            asked_by=self.person,
            ticket=wanted["ticket"],
        )


@dataclass(frozen=True, slots=True)
class Asked:
    row: ApprovalRequest
    what: str
    tone: str
    state: str
    is_live: bool


class AskingPage(OwnPage):
    """Puts a question for access; what stands against it is told at the field."""

    http_method_names = ("get", "post", "head", "options")

    def form_of(self, sent: QueryDict) -> forms.Form:
        raise AssertionError("each page knows its own")

    def asked(self, form: Any) -> tuple[ApprovalRequest, bool]:
        """Of the valid form: the request, and whether it is new."""
        raise AssertionError("each page knows its own")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = self.form_of(request.POST)
        if not form.is_valid():
            return self._again(form, 400)
        try:
            row, is_new = self.asked(form)
        except CannotGrant as reason:
            form.add_error(reason.field if reason.field in form.fields else None, str(reason))
        except TooManyQuestions as reason:
            form.add_error(None, str(reason))
        except OperationalError:
            form.add_error(None, BUSY)
        else:
            told = f"{row.name} waits for a decision." if is_new else f"{row.name} asks for that already."
            messages.success(request, told)
            return redirect("my_access")
        return self._again(form, 400)

    def _again(self, form: forms.Form, status: int) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=status)


class MyAccess(AskingPage):
    """The links of denials lead here, with what was denied already filled in."""

    template_name = "console/me_access.html"

    def form_of(self, sent: QueryDict) -> AccessForm:
        return AccessForm(sent, person=self.person)

    def asked(self, form: AccessForm) -> tuple[ApprovalRequest, bool]:
        return approving.ask_for_access(form.wish, by=person_of(self.request))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        wished = {name: self.request.GET.get(name, "")[:200] for name in ("agent", "bundle", "tool")}
        return {
            "form": AccessForm(person=self.person, initial=wished),
            "asked": list(self._asked()),
            "grants": my_grants(self.person).filter(in_force(self.now)).order_by("ends_at")[:SHOWN],
            **super().get_context_data(**kwargs),
        }

    def _asked(self) -> Iterator[Asked]:
        me = self.person.pk
        rows = ApprovalRequest.objects.filter(Q(owner_id=me) | Q(person_id=me) | Q(asked_by_id=me))
        for row in rows.order_by("-number")[:SHOWN]:
            state = state_at(row, self.now)
            tone, word = STATES[ApprovalRequest.State(state)]
            yield Asked(row, _what(row), tone, word, state in ApprovalRequest.LIVE)


def _what(row: ApprovalRequest) -> str:
    who = visible(row.agent or "You")
    if row.kind == ApprovalRequest.Kind.CALL:
        return f"{who}: {visible(row.tool)} on {visible(row.connector)}"
    if row.kind == ApprovalRequest.Kind.ANSWER:
        return f"{who}: the answer of {visible(row.tool)} on {visible(row.connector)}"
    wanted = visible(str(row.wanted.get("tool") or row.wanted.get("bundle") or ""))
    return f"{who}: {wanted} for {row.wanted.get('minutes', '?')} minutes"


def my_grants(person: User) -> QuerySet[Grant]:
    """Hers and her agents'."""
    hers = Grant.objects.filter(Q(person=person) | Q(agent__owner=person))
    return hers.select_related("agent", "person", "bundle", "tool__connector")


class RenewMyGrant(AskingPage):
    """Of her own or an agent of hers; anybody else's does not exist here, and neither does what is over."""

    template_name = "console/me_renew.html"

    @cached_property
    def grant(self) -> Grant:
        live = my_grants(self.person).filter(in_force(self.now), kind=Grant.Kind.ELEVATION)
        return get_object_or_404(live, pk=self.kwargs["grant_id"])

    def form_of(self, sent: QueryDict) -> TimeForm:
        return TimeForm(sent)

    def asked(self, form: TimeForm) -> tuple[ApprovalRequest, bool]:
        return granting.renew(self.grant, **form.cleaned_data, by=self.person)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {"form": TimeForm(), "grant": self.grant, **super().get_context_data(**kwargs)}


class EndMyGrant(OwnPage):
    """Early, which is the safe direction; anybody else's does not exist here."""

    http_method_names = ("post",)

    def post(self, request: HttpRequest, grant_id: UUID) -> HttpResponseBase:
        ended = granting.revoke_grant(get_object_or_404(my_grants(self.person), pk=grant_id), by=self.person)
        messages.success(request, "It is ended." if ended else "It was over already.")
        return redirect("my_access")


class WithdrawMyRequest(OwnPage):
    http_method_names = ("post",)

    def post(self, request: HttpRequest, key: UUID) -> HttpResponseBase:
        me = self.person.pk
        hers = ApprovalRequest.objects.filter(Q(owner_id=me) | Q(person_id=me) | Q(asked_by_id=me))
        row = get_object_or_404(hers, key=key)
        try:
            approving.cancel(row, by=self.person)
        except CannotDecide as reason:
            messages.warning(request, str(reason))
        else:
            messages.success(request, f"{row.name} is withdrawn.")
        return redirect("my_access")
