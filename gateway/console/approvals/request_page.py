"""The approver's page of one request: everything needed to decide it, and the decision."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse

from gateway import approving
from gateway.console.approvals import live
from gateway.console.approvals.arguments import Mask
from gateway.console.approvals.frame import ApprovalsPage
from gateway.console.approvals.masking import mask_for
from gateway.console.approvals.narrowing import Narrowing, editable, fields_of, narrowing_of
from gateway.console.approvals.sentences import words_of
from gateway.console.approvals.shown import answered, may_look, shown_to
from gateway.console.approvals.terms_in_words import Wanted as Wants
from gateway.console.approvals.terms_in_words import wanted
from gateway.console.proof import authentication_of
from gateway.console.step_up import FRESH, needs_fresh_login, signed_in_at, way_to_sign_in
from gateway.hostile_text import visible
from governance.approval_rows import (
    CannotDecide,
    Changed,
    DecidedAlready,
    Ended,
    Incomplete,
    NoPattern,
    NotEligible,
    StepUpNeeded,
    approval_digest,
    asks_of,
    subject_of,
)
from governance.approvals import Ballot
from governance.approvers import eligible, human_of, interested
from governance.models import ApprovalRequest
from governance.patterns import Constraint, offers

LONGEST_REASON = 500
SEES_ORIGINAL = "gateway.show_maskedvalue"
LONGEST_TICKET = 100
MINUTES = (10, 30, 60, 120, 240, 480, 1440)
STATUSES: dict[type[CannotDecide], int] = {
    Changed: 409,
    Ended: 409,
    DecidedAlready: 409,
    NotEligible: 403,
    StepUpNeeded: 403,
}
"""Everything else is about what was typed: 422."""
BUSY = "The system was busy and nothing was decided. Please press the button once more."
DONE: dict[str, str] = {
    ApprovalRequest.State.APPROVED: "Approved. The agent goes on.",
    ApprovalRequest.State.DENIED: "Denied. The agent is told so.",
    ApprovalRequest.State.PENDING: "Your decision counts. Others are still to agree.",
}
MEANWHILE = "It changed meanwhile, and nothing was decided. You see it as it is now; what you typed is still here."


@dataclass(frozen=True, slots=True)
class Offer:
    """`most` is said of what may be less, too; empty where it may not."""

    key: str
    label: str
    is_chosen: bool
    most: str
    is_most_chosen: bool


@dataclass(frozen=True, slots=True)
class Typed:
    """What a POST brought, kept whatever becomes of it."""

    verb: str = ""
    reason: str = ""
    ticket: str = ""
    minutes: int = 30
    chosen: frozenset[str] | None = None
    """None: nothing was chosen yet, so all is offered ticked."""
    at_most: frozenset[str] = frozenset()
    """What is ticked here is wider, so nothing is beforehand."""
    only_this_run: bool = True

    @classmethod
    def of(cls, request: HttpRequest) -> "Typed":
        form, minutes = request.POST, request.POST.get("minutes", "")
        return cls(
            verb=form.get("verb", ""),
            reason=form.get("reason", "").replace("\r\n", "\n").strip()[:LONGEST_REASON],
            ticket=form.get("ticket", "").strip()[:LONGEST_TICKET],
            minutes=int(minutes) if minutes.isascii() and minutes.isdigit() and len(minutes) < 6 else 30,
            chosen=frozenset(form.getlist("offer")),
            at_most=frozenset(form.getlist("at_most")),
            only_this_run="only_this_run" in form,
        )


class RequestPage(ApprovalsPage):
    """GET only reads. A POST carries the digest and the revision that were shown; everything about it is decided by
    `gateway.approving`, whatever this page offered."""

    template_name = "console/approvals/request.html"
    http_method_names = ("get", "head", "post", "options")

    @cached_property
    def row(self) -> ApprovalRequest:
        """For whoever must not see it, it is not there."""
        row = ApprovalRequest.objects.filter(key=self.kwargs["key"]).first()
        if row is None or not may_look(self.person, row, self.snapshot, self.now):
            raise Http404
        return row

    # Reading

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        asked = shown_to(self.person, self.row, self.snapshot, self.now)
        context = {
            "asked": asked,
            "typed": Typed(),
            "errors": {},
            "may_see_original": self.may_see_original,
            **super().get_context_data(**kwargs),
        }
        return {**self._ways(context["typed"], context.get("narrowing")), **context} if asked.may_decide else context

    def _ways(self, typed: Typed, narrowing: Narrowing | None) -> dict[str, Any]:
        """What she may do besides yes and no."""
        wants, arguments = self._wants(), self._arguments()
        mask = mask_for(arguments, self.snapshot)
        fields = narrowing.fields if narrowing else fields_of(arguments, mask=mask)
        return {
            "terms": wants,
            "offers": self._offers(arguments, typed) if wants.longest_grant_seconds else [],
            "lengths": [minutes for minutes in MINUTES if minutes * 60 <= wants.longest_grant_seconds],
            "fields": fields,
            "may_suspend": self.row.agent_id is not None,
            "sign_in_needed": self._is_stale(wants),
            "sign_in_here": way_to_sign_in(self.request, back=self.request.path),
        }

    def _offers(self, arguments: dict[str, Any], typed: Typed) -> list[Offer]:
        mask = mask_for(arguments, self.snapshot)
        return [_offer(each, typed, mask) for each in offers(arguments)]

    def _arguments(self) -> dict[str, Any]:
        """Those that can be changed or kept; none where the request can only be taken as it is."""
        try:
            return approving.arguments_of(self.row)
        except NoPattern:
            return {}

    def _wants(self) -> Wants:
        """Of the rules for which her decision counts."""
        subject, mine = subject_of(self.row), self.person.pk.hex
        terms = (ask.terms for ask in asks_of(self.row))
        return wanted(each for each in terms if eligible(each, subject, mine, self.snapshot, self.now))

    def _is_stale(self, wants: Wants) -> bool:
        at = signed_in_at(self.request)
        return bool(wants.step_up_seconds) and (at is None or self.now - at > timedelta(seconds=wants.step_up_seconds))

    # Deciding

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        typed = Typed.of(request)
        acts: dict[str, Callable[[Typed], HttpResponse]] = {
            "approve": self._approve,
            "deny": self._deny,
            "grant": self._grant,
            "show_narrowed": self._show_narrowed,
            "narrow": self._narrow,
            "suspend": self._suspend,
            "show_answer": self._show_answer,
        }
        act = acts.get(typed.verb)
        try:
            return act(typed) if act else self._again(typed, "Choose what to do with it.", status=422)
        except CannotDecide as reason:
            return self._refused(typed, reason)
        except OperationalError:
            return self._again(typed, BUSY, status=503)

    def _approve(self, typed: Typed) -> HttpResponse:
        return self._done(approving.decide(self.row, self._ballot(typed), approves=True))

    def _deny(self, typed: Typed) -> HttpResponse:
        return self._done(approving.decide(self.row, self._ballot(typed), approves=False))

    def _grant(self, typed: Typed) -> HttpResponse:
        kept = tuple(sorted(typed.chosen or ()))
        at_most = tuple(sorted(typed.at_most))
        wish = approving.Wanted(typed.minutes, kept, at_most, only_this_run=typed.only_this_run)
        grant = approving.approve_pattern(self.row, self._ballot(typed), wish)
        messages.success(self.request, f"Approved, and calls like it until {grant.ends_at:%H:%M} UTC.")
        return self._back()

    def _show_narrowed(self, typed: Typed) -> HttpResponse:
        """Of the arguments that were shown: the fields of a stale page may stand for others."""
        if self._ballot(typed).digest != approval_digest(self.row):
            raise Changed(MEANWHILE)
        narrowing = self._narrowing()
        problem = "" if narrowing.changes else "Nothing is different. Change a value, or approve the call as it is."
        if narrowing.problems:
            problem = "One of the values cannot be read. Look below."
        shown = None if problem else narrowing
        return self._again(typed, problem, status=422 if problem else 200, narrowing=narrowing, proposal=shown)

    def _narrow(self, typed: Typed) -> HttpResponse:
        """Only what was shown just before, and nothing typed since."""
        narrowing = self._narrowing()
        if narrowing.problems or narrowing.digest != self.request.POST.get("narrowed_digest"):
            return self._show_narrowed(typed)
        return self._done(approving.narrow(self.row, self._ballot(typed), narrowing.arguments))

    def _narrowing(self) -> Narrowing:
        arguments = approving.arguments_of(self.row)
        mask = mask_for(arguments, self.snapshot)
        return narrowing_of(self.row, arguments, self.request.POST.dict(), mask=mask)

    def _show_answer(self, typed: Typed) -> HttpResponse:
        """As it is: for who may see what masks stand for, with a reason that is on record before."""
        if not self.may_see_original:
            raise NotEligible("You may not see it as it is. Decide by what is shown, or leave it to somebody else.")
        if needs_fresh_login(self.request, SEES_ORIGINAL) is not None:
            raise StepUpNeeded(int(FRESH.total_seconds()), "Seeing it as it is takes a fresh sign-in.")
        if not typed.reason:
            raise Incomplete("reason", "Say why you have to see it as it is.")
        approving.show_answer(self.row, by=self.person, reason=typed.reason)
        original = answered(self.row, self.snapshot, with_original=True)
        return self._again(typed, "", status=200, original=original.original if original else None)

    @property
    def may_see_original(self) -> bool:
        is_his_own = human_of(self.person.pk.hex, self.snapshot) in interested(subject_of(self.row), self.snapshot)
        return self.person.is_staff and self.person.has_perm(SEES_ORIGINAL) and not is_his_own

    def _suspend(self, typed: Typed) -> HttpResponse:
        done = approving.suspend_agent(self.row, by=self.person)
        name = visible(self.row.agent)
        messages.success(self.request, f"{name} is suspended." if done else f"{name} was not running any more.")
        return self._back()

    def _ballot(self, typed: Typed) -> Ballot:
        """Raises Changed for a form that was not ours."""
        try:
            digest, revision = bytes.fromhex(self.request.POST["digest"]), int(self.request.POST["revision"])
        except (KeyError, ValueError):
            raise Changed(MEANWHILE) from None
        return Ballot(
            by=self.person,
            digest=digest,
            revision=revision,
            channel="web",
            authentication=authentication_of(self.request),
            reason=typed.reason,
            ticket=typed.ticket,
        )

    # Answering

    def _done(self, row: ApprovalRequest) -> HttpResponse:
        messages.success(self.request, DONE.get(row.state, "Your decision is recorded."))
        return self._back()

    def _back(self) -> HttpResponse:
        return HttpResponseRedirect(reverse("approval", args=[self.row.key]))

    def _refused(self, typed: Typed, reason: CannotDecide) -> HttpResponse:
        status = STATUSES.get(type(reason), 422)
        if isinstance(reason, Changed):
            return self._again(typed, MEANWHILE, status=status)
        if isinstance(reason, Incomplete):
            return self._again(typed, str(reason), status=status, errors={reason.field: str(reason)})
        if isinstance(reason, StepUpNeeded):
            beside = way_to_sign_in(self.request, back=f"{reverse('me')}?signed-in-again")
            return self._again(typed, str(reason), status=status, sign_in_link=beside)
        errors = {"grant": str(reason)} if isinstance(reason, NoPattern) and typed.verb == "grant" else {}
        return self._again(typed, str(reason), status=status, errors=errors)

    def _again(self, typed: Typed, problem: str, *, status: int, **context: Any) -> HttpResponse:
        """The page as things are now, with what was typed."""
        for stale in ("row", "now", "snapshot"):
            self.__dict__.pop(stale, None)
        known = self.get_context_data(typed=typed, problems=[problem] if problem else [], **context)
        return self.render_to_response(known, status=status)


def _offer(constraint: Constraint, typed: Typed, mask: Mask) -> Offer:
    name, value = words_of(constraint.member), editable(constraint.value, mask)
    return Offer(
        key=constraint.member,
        label=f"{name} is {value}",
        is_chosen=typed.chosen is None or constraint.member in typed.chosen,
        most=f"or less: any number from 0 to {value}" if constraint.most else "",
        is_most_chosen=constraint.member in typed.at_most,
    )


class RequestLive(ApprovalsPage):
    """What the WebSocket says, for a page whose socket is closed."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        message = live.of_request(self.person, UUID(str(self.kwargs["key"])), self.now)
        if message is None:
            raise Http404
        return JsonResponse(message)
