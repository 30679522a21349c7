"""Approving several at once: only what is alike and of low risk, each with exactly what was shown of it."""

from uuid import UUID

from django.contrib import messages
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from gateway import approving
from gateway.console.approvals.frame import ApprovalsPage
from gateway.console.approvals.request_page import BUSY
from gateway.console.approvals.shown import may_look
from gateway.console.approvals.waiting import decides_much
from gateway.console.proof import authentication_of
from gateway.console.wording import counted
from governance.approval_rows import CannotDecide
from governance.approvals import Ballot
from governance.models import ApprovalRequest

Chosen = tuple[ApprovalRequest, Ballot]


class Bulk(ApprovalsPage):
    http_method_names = ("post", "options")

    def post(self, request: HttpRequest) -> HttpResponse:
        tickets = request.POST.getlist("request")[: approving.MOST_AT_ONCE + 1]
        if decides_much(self.person, self.now):
            messages.warning(request, "Nothing was approved: you have decided 20 in ten minutes. Go on one by one.")
        elif chosen := self._chosen(tickets):
            self._approve(chosen)
        else:
            messages.warning(request, "Nothing was ticked.")
        return redirect("approvals")

    def _approve(self, chosen: list[Chosen]) -> None:
        try:
            ended = approving.decide_many(chosen, approves=True)
        except CannotDecide as reason:
            messages.error(self.request, str(reason))
        except OperationalError:
            messages.error(self.request, BUSY)
        else:
            self._tell(ended)

    def _tell(self, ended: list[tuple[ApprovalRequest, CannotDecide | None]]) -> None:
        done = sum(reason is None for _, reason in ended)
        if done:
            messages.success(self.request, f"{counted(done, 'request')} approved.")
        for row, reason in ended:
            if reason is not None:
                messages.warning(self.request, f"{row.name} was not: {reason}")

    def _chosen(self, tickets: list[str]) -> list[Chosen]:
        """Of what she may see; anything else that a form names is not there."""
        shown = dict(filter(None, map(_read, tickets)))
        rows = ApprovalRequest.objects.filter(key__in=shown).order_by("number")
        mine = (row for row in rows if may_look(self.person, row, self.snapshot, self.now))
        authentication = authentication_of(self.request)
        return [(row, Ballot(self.person, shown[row.key][1], shown[row.key][0], "web", authentication)) for row in mine]


def _read(ticket: str) -> tuple[UUID, tuple[int, bytes]] | None:
    """`key:revision:digest`, as the inbox wrote it."""
    try:
        key, revision, digest = ticket.split(":")
        return UUID(key), (int(revision), bytes.fromhex(digest))
    except ValueError:
        return None
