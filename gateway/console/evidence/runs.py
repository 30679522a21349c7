"""Sessions outside the admin: for those who may see all evidence, and for a person those of her agents or for her."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, Final, cast
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from audit.kinds import DECISIONS, OUTCOMES
from audit.search import Choice, Moment, WholeText
from gateway import run_search, saved_searches
from gateway.actions import act
from gateway.console.acting import person_of
from gateway.console.evidence.call_page import OPENS_PAYLOADS
from gateway.console.evidence.session_page import Opening, Timeline
from gateway.console.me import OwnPage
from gateway.console.step_up import needs_fresh_login
from gateway.models import SavedSearch
from gateway.run_search import BY_INDEX, OF_CALLS, OF_RUNS, Found, Wish, sees_all
from gateway.search_filling import lag
from gateway.session_story import SessionPage
from gateway.text_search import LONGEST_TEXT, searching
from governance.house_rules import RuleBroken
from governance.models import User

OUTSIDE: Final = {"frame": "console/evidence/outside.html", "page": "run_page", "open": "open_run"}
FILTERS: Final = (*OF_RUNS, *OF_CALLS, *BY_INDEX)
SAVED: Final = (*FILTERS, "since", "until")


class SearchForm(forms.Form):
    """What stands in the address; the text never does, for it may be a secret and addresses are kept everywhere."""

    agent = WholeText("Agent")
    person = WholeText("Person")
    tool = WholeText("Tool")
    decision = Choice("Decision", DECISIONS)
    outcome = Choice("Outcome", OUTCOMES)
    label = WholeText("Label")
    finding = WholeText("Finding")
    since = Moment(label="From (UTC)", required=False)
    until = Moment(label="To (UTC)", required=False)

    def wish(self, *, text: str = "") -> Wish:
        asked = self.cleaned_data
        filters = {name: str(asked[name]) for name in FILTERS if asked.get(name)}
        return Wish(filters, text, asked["since"], asked["until"])


class TextForm(SearchForm):
    text = forms.CharField(
        label="Words of arguments and answers",
        required=False,
        max_length=LONGEST_TEXT,
        help_text="All of them, of one call; up to eight. A value that rules masked is found by itself.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class OwnSearchForm(forms.Form):
    """Of a person who sees her own runs only."""

    agent = WholeText("Agent")
    since = Moment(label="From (UTC)", required=False)
    until = Moment(label="To (UTC)", required=False)

    wish = SearchForm.wish


class SaveForm(TextForm):
    name = forms.CharField(label="Name", max_length=100)
    is_shared = forms.BooleanField(label="For all who may search evidence", required=False)


class Runs(OwnPage):
    """A GET looks by what is recorded in the clear; a POST, for a text, is recorded before anything is shown."""

    template_name = "console/evidence/runs.html"

    @cached_property
    def sees_all(self) -> bool:
        return sees_all(self.person)

    @property
    def may_read(self) -> bool:
        return self.sees_all and self.person.has_perm(OPENS_PAYLOADS)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if saved := request.GET.get("saved"):
            return self._saved(saved, is_asked=False)
        form = (SearchForm if self.sees_all else OwnSearchForm)(request.GET)
        return self._answer(form)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if saved := request.POST.get("saved"):
            return self._saved(saved, is_asked=True)
        form = TextForm(request.POST)
        return self._answer(form, text=str(form.data.get("text", "")).strip())

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=TextForm(self.request.POST), found=Found()))

    def _saved(self, name: str, *, is_asked: bool) -> HttpResponse:
        """A link leads to one by words, and a button runs it: following a link writes nothing."""
        row = get_object_or_404(saved_searches.of(self.person, sees_all=self.sees_all), pk=_uuid(name))
        try:
            text = saved_searches.text_of(row)
        except RuleBroken as problem:
            messages.error(self.request, str(problem))
            return redirect("runs")
        if text and not self.may_read:
            raise PermissionDenied
        form = (SearchForm if self.sees_all else OwnSearchForm)(row.filters)
        if text and not is_asked:
            return self.render_to_response(self.get_context_data(form=form, found=Found(), saved=row, waits=True))
        return self._answer(form, text=text, saved=row)

    def _answer(self, form: Any, *, text: str = "", saved: SavedSearch | None = None) -> HttpResponse:
        if text and (refusal := self._refusal(is_typed=saved is None)):
            return refusal
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form, found=Found()), status=400)
        wish = form.wish(text=text)
        if text:
            act(lambda record, now: record(searching(wish.question(), now=now)), by=person_of(self.request))
        found = self._found(wish)
        return self.render_to_response(self.get_context_data(form=form, found=found, saved=saved, has_text=bool(text)))

    def _refusal(self, *, is_typed: bool) -> HttpResponse | None:
        if not self.may_read:
            raise PermissionDenied
        if is_typed:
            return needs_fresh_login(self.request, OPENS_PAYLOADS, as_typed=self.as_typed)
        return needs_fresh_login(self.request, OPENS_PAYLOADS)

    def _found(self, wish: Wish) -> Found:
        sent = self.request.POST if self.request.method == "POST" else self.request.GET
        older_than = _uuid(sent.get("older_than", ""))
        if self.sees_all and wish.is_of_calls:
            return run_search.calls(wish, older_than=older_than)
        return run_search.runs(self.person, wish, older_than=older_than)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        kept = self.request.GET.copy()
        kept.pop("older_than", None)
        return {
            **super().get_context_data(**kwargs),
            "sees_all": self.sees_all,
            "may_read": self.may_read,
            "text_field": TextForm(self.request.POST or None)["text"],
            "searches": saved_searches.of(self.person, sees_all=self.sees_all),
            "behind": lag() if self.sees_all else 0,
            "kept": kept.urlencode(),
        }


class SaveSearch(OwnPage):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponseBase:
        form = SaveForm(request.POST)
        if not form.is_valid():
            messages.error(request, "Give it a name of up to 100 characters, and filters that can be read.")
            return redirect("runs")
        asked = form.cleaned_data
        is_hers_alone = not sees_all(self.person)
        if is_hers_alone and (asked["text"] or asked["is_shared"]):
            raise PermissionDenied
        filters = {name: _kept(asked[name]) for name in SAVED if asked[name]}
        try:
            row = act(
                lambda record, _: saved_searches.save(
                    self.person,
                    asked["name"],
                    filters=filters,
                    text=asked["text"],
                    is_shared=asked["is_shared"],
                    record=record,
                ),
                by=person_of(request),
            )
        except RuleBroken as problem:
            messages.error(request, str(problem))
            return redirect("runs")
        messages.success(request, f"Saved as {row.name}.")
        return redirect(f"{reverse('runs')}?saved={row.pk}" if not asked["text"] else reverse("runs"))


class DropSearch(OwnPage):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, search_id: UUID) -> HttpResponseBase:
        if not act(lambda record, _: saved_searches.drop(self.person, search_id, record=record), by=person_of(request)):
            raise Http404
        messages.success(request, "Dropped.")
        return redirect("runs")


@method_decorator(never_cache, name="dispatch")
class RunPage(LoginRequiredMixin, Timeline):
    """Whoever may not see it does not learn whether it exists: names of runs can be worked out."""

    names: ClassVar[Mapping[str, str]] = OUTSIDE

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not run_search.may_see(request.user, self.page.first):
            raise PermissionDenied
        return super().dispatch(request, *args, **kwargs)

    @cached_property
    def page(self) -> SessionPage:
        person = cast(User, self.request.user)
        try:
            page = super().page
        except Http404:
            if sees_all(person):
                raise
            raise PermissionDenied from None
        if not run_search.may_see(person, page.first):
            raise PermissionDenied
        return page


class OpenRun(Opening, RunPage):
    """Asks for the permission first, so that nobody learns here either."""


def _kept(value: Any) -> str:
    return value.strftime("%Y-%m-%dT%H:%M") if isinstance(value, datetime) else str(value)


def _uuid(text: str) -> UUID | None:
    """None for nonsense: whoever edits the address gets the first page."""
    try:
        return UUID(text)
    except ValueError:
        return None
