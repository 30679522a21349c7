"""One directory: where the identity provider sends to, with which tokens; and confirming what only humans can."""

from functools import cached_property
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables

from gateway import directories
from gateway.console.once import OnceForm, ShownAlready, make_once
from gateway.console.pages import ConsolePage, GovernedPage
from gateway.hostile_text import visible
from governance.directories import MOST_LIVE
from governance.directory_people import whom_it_may_be
from governance.directory_pulls import IN_WORDS
from governance.group_mappings import why_not_approvable
from governance.house_rules import RuleBroken
from governance.models import Directory, DirectoryLoss, DirectoryToken, DirectoryUser, GroupMapping

LAST_MESSAGES = 10


class OfDirectory:
    kwargs: dict[str, Any]

    @cached_property
    def directory(self) -> Directory:
        return get_object_or_404(Directory, pk=self.kwargs["directory_id"])


class Overview(OfDirectory, ConsolePage):
    permission = "governance.view_directory"
    template_name = "console/directories/directory.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        users = self.directory.users.filter(deleted_at=None)
        tokens = list(self.directory.tokens.filter(revoked_at=None))
        return {
            **super().get_context_data(**kwargs),
            "title": str(self.directory),
            "directory": self.directory,
            "address": directories.base_address(),
            "tokens": tokens,
            "takes_another": len(tokens) < MOST_LIVE,
            "people": users.count(),
            "inactive": users.filter(active=False).count(),
            "unclear": users.exclude(problem="").count(),
            "held": self.directory.losses.filter(state=DirectoryLoss.State.HELD).count(),
            "mappings": self.directory.mappings.count(),
            "last": self.directory.messages.all()[:LAST_MESSAGES],
            **self._compared(),
        }

    def _compared(self) -> dict[str, Any]:
        run = self.directory.runs.order_by("-id").first()
        found = run.differences if run else ()
        return {"run": run, "differences": [{"who": each["who"], **_told(each)} for each in found]}


def _told(difference: dict[str, Any]) -> dict[str, str]:
    more = ", ".join(f"{key}: {_text(value)}" for key, value in difference.items() if key not in ("what", "who"))
    return {"words": IN_WORDS.get(difference["what"], difference["what"]), "more": more}


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@method_decorator(sensitive_variables("issued", "context"), name="post")
class NewToken(OfDirectory, GovernedPage):
    """The answer to the POST is the only page that ever shows the token."""

    permission = "governance.connect_directory"
    template_name = "console/directories/new_token.html"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = OnceForm(request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form), status=400)
        try:
            issued = make_once(
                lambda: directories.issue_token(self.directory, by=self.by),
                ticket=form.cleaned_data["once"],
                by=self.by,
                told=lambda made: f"this token begins with {made.row.hint}…",
            )
        except (ShownAlready, RuleBroken) as reason:
            messages.warning(request, str(reason))
            return redirect("directory", self.directory.pk)
        context = {**self.get_context_data(), "issued": issued, "address": directories.base_address()}
        return self.response_class(request, ["console/directories/token_shown.html"], context)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        shown = {"form": OnceForm(), "directory": self.directory, "title": f"New token of {self.directory}"}
        live = self.directory.tokens.filter(revoked_at=None)
        return super().get_context_data(**{**shown, "live": live, "is_full": len(live) >= MOST_LIVE, **kwargs})


class RevokeToken(GovernedPage):
    permission = "governance.connect_directory"
    http_method_names = ("post", "options")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        token = get_object_or_404(
            DirectoryToken.objects.select_related("directory"), pk=self.kwargs["directory_token_id"]
        )
        ended = directories.revoke_token(token, by=self.by)
        messages.success(request, f"{token.hint}… is revoked." if ended else "It was revoked already.")
        return redirect("directory", token.directory_id)


class Adopt(GovernedPage):
    """Side by side, what the directory says and who is here; one button says that they are the same."""

    permission = "governance.adopt_directoryuser"
    template_name = "console/directories/adopt.html"

    @cached_property
    def row(self) -> DirectoryUser:
        rows = DirectoryUser.objects.filter(deleted_at=None).select_related("directory", "person")
        return get_object_or_404(rows, pk=self.kwargs["directory_user_id"])

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        person = whom_it_may_be(self.row)
        if person is None:
            messages.warning(request, "There is nobody here with her e-mail address any more.")
            return redirect("admin:governance_directoryuser_changelist")
        try:
            directories.adopt(self.row, person, acting=self.person)
        except RuleBroken as reason:
            return self.render_to_response(self.get_context_data(problem=str(reason)), status=400)
        messages.success(request, f"{person} belongs to {self.row.directory} from now on.")
        return redirect("directory", self.row.directory_id)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        shown = {"row": self.row, "person": whom_it_may_be(self.row), "title": "Is she the same?"}
        return super().get_context_data(**{**shown, **kwargs})


class ApproveMapping(GovernedPage):
    """The second human's page."""

    permission = "governance.approve_groupmapping"
    template_name = "console/directories/approve_mapping.html"

    @cached_property
    def mapping(self) -> GroupMapping:
        rows = GroupMapping.objects.select_related("directory", "group", "proposed_by", "approved_by")
        return get_object_or_404(rows, pk=self.kwargs["mapping_id"])

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            directories.approve_mapping(self.mapping, acting=self.person)
        except RuleBroken as reason:
            return self.render_to_response(self.get_context_data(problem=str(reason)), status=400)
        messages.success(request, "Agreed. It is in force for everybody in the group.")
        return redirect("admin:governance_groupmapping_changelist")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        group = self.mapping.group
        return {
            **super().get_context_data(**kwargs),
            "mapping": self.mapping,
            "members": group.members.exclude(user=None).count() if group else 0,
            "why_not": why_not_approvable(self.mapping, self.person),
            "title": f"What {visible(self.mapping.group_name)} gives",
        }
