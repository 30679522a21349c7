"""Offboarding on screen: find the person, see what hangs on her, decide, one button, proof."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q
from django.forms import DateTimeField
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from gateway import offboarding_proof, offboardings
from gateway.console.offboarding.plan_form import PlanForm, likely_successors, organization_zone
from gateway.console.pages import GovernedPage
from gateway.console.taken import TakenPage
from gateway.enforcement import Enforcement
from gateway.hostile_text import visible
from gateway.receipts.pdf import receipt_as_pdf
from gateway.receipts.words import (
    TONES,
    agent_lines,
    consequence,
    fates,
    grouped,
    headline,
    items_of,
    steps_in_words,
)
from gateway.streams import CHUNK
from governance.models import Offboarding, User
from governance.offboarding import (
    PERMISSION,
    CannotOffboard,
    FindingsChanged,
    Item,
    Plan,
    check,
    findings_digest,
    may_cancel,
    may_offboard,
)

VIEW = "governance.view_offboarding"
FOUND_AT_ONCE = 20
LISTED_AT_ONCE = 50
LOOK_AT_ONCE_SECONDS = 0.3
"""Gateways confirm in less, most of the time; what takes longer is followed by the page's WebSocket."""


class Offboardings(TakenPage):
    """One box to find somebody; below it what is planned, under way and done."""

    permission = VIEW
    title = "Offboarding"
    template_name = "console/offboarding/index.html"
    taken_as = "offboardings"
    columns = ("id", "person", "state", "due at (UTC)", "by", "what came of it", "problem", "receipt digest")

    def lines(self) -> Iterator[tuple[str, ...]]:
        rows = Offboarding.objects.select_related("person").defer("items", "receipt")
        for row in rows.iterator(chunk_size=CHUNK):
            due_at = f"{row.due_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
            facts = (row.get_state_display(), due_at, row.created_by, headline(row), row.problem, row.receipt_digest)
            yield str(row.pk), row.person.email, *facts

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        words = self.request.GET.get("q", "").strip()[:200]
        rows = Offboarding.objects.select_related("person").defer("items", "receipt")
        older = self._older(rows)
        return {
            "query": words,
            "people": self._found(words) if words else [],
            "may_offboard": self.request.user.has_perm(PERMISSION),
            "waiting": [self._line(row) for row in rows.filter(state__in=("scheduled", "enforcing"))],
            "past": [self._line(row) for row in older[:LISTED_AT_ONCE]],
            "oldest": older[LISTED_AT_ONCE - 1].created_at.isoformat() if len(older) > LISTED_AT_ONCE else "",
            "zone": organization_zone(),
            **super().get_context_data(**kwargs),
        }

    def _found(self, words: str) -> list[User]:
        matching = User.objects.filter(Q(email__icontains=words) | Q(name__icontains=words))
        return list(matching.order_by("-is_active", "email")[:FOUND_AT_ONCE])

    def _older(self, rows: Any) -> list[Offboarding]:
        past = rows.exclude(state__in=("scheduled", "enforcing"))
        try:
            before = DateTimeField(required=False).clean(self.request.GET.get("before", ""))
        except ValidationError:
            before = None
        return list((past.filter(created_at__lt=before) if before else past)[: LISTED_AT_ONCE + 1])

    def _line(self, row: Offboarding) -> dict[str, Any]:
        return {"row": row, "tone": TONES[row.state], "headline": headline(row)}


class PersonPage(GovernedPage):
    """Everything that hangs on a person, what becomes of it, and the button."""

    permission = PERMISSION
    template_name = "console/offboarding/person.html"

    @cached_property
    def leaver(self) -> User:
        return get_object_or_404(User.objects.select_related("manager"), pk=self.kwargs["person_id"])

    @cached_property
    def open(self) -> Offboarding | None:
        waiting = Offboarding.objects.filter(person=self.leaver, state__in=("scheduled", "enforcing"))
        return waiting.defer("items", "receipt").first()

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._shown(PlanForm.first(self.leaver))

    def as_typed(self) -> HttpResponse:
        return self._shown(self._typed())

    def _typed(self) -> PlanForm:
        return PlanForm.read(self.request.POST, list(self.leaver.agents.values_list("name", flat=True)))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = self._typed()
        plan, due_at = form.plan(), form.due_at(organization_zone())
        if not form.confirmed:
            form.errors.append("Tick the box above the button first.")
        if not may_offboard(self.person, self.leaver):
            form.errors.append("Owners are offboarded by owners only.")
        if form.errors:
            return self._shown(form)
        try:
            return self._done(form, plan, due_at)
        except FindingsChanged:
            return self._shown(form, was_changed=True)
        except CannotOffboard as error:
            form.errors.append(str(error))
            return self._shown(form)

    def _done(self, form: PlanForm, plan: Plan, due_at: datetime | None) -> HttpResponse:
        if due_at is not None:
            offboarding = offboardings.schedule_offboarding(self.leaver, plan=plan, due_at=due_at, by=self.by)
        else:
            offboarding = offboardings.begin_offboarding(self.leaver, plan=plan, by=self.by, expected=form.seen)
            offboardings.follow_for(offboarding.id, LOOK_AT_ONCE_SECONDS)
        return HttpResponseRedirect(reverse("offboarding", args=[offboarding.pk]))

    def _shown(self, form: PlanForm, *, was_changed: bool = False) -> HttpResponse:
        items = offboardings.findings(self.leaver, plan=Plan())
        context = self.get_context_data(form=form, items=items)
        if was_changed:
            marks = {item.mark for item in items}
            context["added"] = [item for item in items if item.mark not in form.marks]
            context["gone"] = len(form.marks - marks)
            context["was_changed"] = True
        status = 200 if not (form.errors or was_changed) else 409 if was_changed else 422
        return self.render_to_response(context, status=status)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        items: list[Item] = kwargs["items"]
        form: PlanForm = kwargs["form"]
        zone = organization_zone()
        return {
            "leaver": self.leaver,
            "open": self.open,
            "refusal": self._refusal(),
            "is_herself": self.leaver.pk == self.person.pk,
            "groups": grouped(items),
            "agents": [(line, form.line(line.item.name)) for line in agent_lines(items)],
            "consequence": consequence(items),
            "seen": findings_digest(items),
            "marks": ",".join(item.mark for item in items),
            "successors": likely_successors(self.leaver),
            "zone": zone,
            **super().get_context_data(**kwargs),
            "title": f"Offboard {visible(self.leaver.name or self.leaver.email)}",
        }

    def _refusal(self) -> str:
        """Why it cannot be done at all, whatever is chosen."""
        if not may_offboard(self.person, self.leaver):
            return "She is an owner. Owners are offboarded by owners only: ask one of them."
        try:
            check(self.leaver, Plan())
        except CannotOffboard as error:
            return str(error)
        return ""


class OffboardingPage(GovernedPage):
    """Its progress while it runs, its receipt when it is done."""

    permission = VIEW
    template_name = "console/offboarding/offboarding.html"

    @cached_property
    def offboarding(self) -> Offboarding:
        found = get_object_or_404(Offboarding.objects.select_related("person"), pk=self.kwargs["offboarding_id"])
        return offboardings.follow(found.pk) if found.state == "enforcing" else found

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        row = self.offboarding
        seen = Enforcement.from_json(row.enforcement)
        items = items_of(json.loads(row.receipt)) if row.receipt else [Item(**item) for item in row.items]
        return {
            "row": row,
            "tone": TONES[row.state],
            "headline": headline(row),
            "seen": seen,
            "fates": fates(seen),
            "is_running": row.state == "enforcing",
            "groups": [group for group in grouped(items) if not all(item.todo for item in group.items)],
            "agents": agent_lines(items),
            "key_count": sum(len(line.keys) for line in agent_lines(items)),
            "todo": [item for item in items if item.todo and not item.step],
            "steps": steps_in_words(row),
            "checked_at": datetime.fromisoformat(row.checked["at"]) if row.checked else None,
            "may_be_undone": self._may_be_undone(),
            "place": offboarding_proof.place_in_log(row),
            "may_offboard": self.may(PERMISSION),
            "may_cancel": may_cancel(self.person, row),
            "may_read_evidence": self.may("audit.view_eventrow"),
            "zone": organization_zone(),
            **super().get_context_data(**kwargs),
            "title": f"Offboarding of {visible(row.person.name or row.person.email)}",
        }

    def _may_be_undone(self) -> bool:
        row = self.offboarding
        ended = row.state in (Offboarding.State.ENFORCED, Offboarding.State.INCOMPLETE)
        return ended and row.undo_until is not None and row.undo_until > datetime.now(UTC)


class CheckAgain(GovernedPage):
    """Tries every ended key and token once more."""

    permission = VIEW
    http_method_names = ["post"]

    def post(self, request: HttpRequest, offboarding_id: Any) -> HttpResponse:
        offboarding = get_object_or_404(Offboarding.objects.select_related("person"), pk=offboarding_id)
        if offboarding.receipt:
            offboarding_proof.check_again(offboarding, by=self.by)
        return HttpResponseRedirect(f"{reverse('offboarding', args=[offboarding_id])}#check")


class Cancel(GovernedPage):
    permission = PERMISSION
    http_method_names = ["post"]

    def post(self, request: HttpRequest, offboarding_id: Any) -> HttpResponse:
        offboarding = get_object_or_404(Offboarding.objects.select_related("person"), pk=offboarding_id)
        if not may_cancel(self.person, offboarding):
            raise PermissionDenied
        offboardings.cancel_offboarding(offboarding, by=self.by)
        return HttpResponseRedirect(reverse("offboarding", args=[offboarding_id]))


class Receipt(GovernedPage, ABC):
    """The receipt as a file. Its SHA-256 is in evidence, so the JSON is handed out byte for byte."""

    permission = VIEW

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        found = get_object_or_404(Offboarding.objects.exclude(receipt=""), pk=kwargs["offboarding_id"])
        body, kind = self.file_of(found)
        answer = HttpResponse(body, content_type="application/json" if kind == "json" else "application/pdf")
        answer["Content-Disposition"] = f'attachment; filename="offboarding-{found.pk}.{kind}"'
        return answer

    @abstractmethod
    def file_of(self, offboarding: Offboarding) -> tuple[bytes, str]:
        """Its content and the ending of its name."""


class JsonReceipt(Receipt):
    def file_of(self, offboarding: Offboarding) -> tuple[bytes, str]:
        return offboarding.receipt.encode(), "json"


class PdfReceipt(Receipt):
    def file_of(self, offboarding: Offboarding) -> tuple[bytes, str]:
        return receipt_as_pdf(offboarding, offboarding_proof.place_in_log(offboarding)), "pdf"


cancel = Cancel.as_view()
receipt_json = JsonReceipt.as_view()
receipt_pdf = PdfReceipt.as_view()
