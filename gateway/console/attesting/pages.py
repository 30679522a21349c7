"""Access reviews for those who look after them: begin one, see how far it is, remind, sign off."""

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, F, Q
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from audit.search import Moment
from gateway import access_reviews
from gateway.console.pages import GovernedPage
from gateway.console.wording import counted
from governance.access_reviews import MANAGE, CannotReview, ReviewWish, scope_fault
from governance.models import AccessReview, User

VIEW = "governance.view_accessreview"
ADD = "governance.add_accessreview"
LISTED, ITEMS_SHOWN = 50, 200
LASTS = timedelta(days=14)
NAMED_AT_MOST = 20


class BeginForm(forms.Form):
    title = forms.CharField(max_length=200, help_text="Reviewers and auditors read it, e.g. Quarterly review, Q4.")
    scope = forms.ChoiceField(choices=AccessReview.Scope.choices, label="Of what")
    scope_name = forms.CharField(
        required=False,
        max_length=63,
        label="Its name",
        help_text="Of the team, bundle or role. Leave it empty for everybody.",
    )
    reviewers = forms.ChoiceField(choices=AccessReview.Reviewers.choices, label="Who attests")
    named = forms.CharField(
        required=False,
        max_length=2000,
        label="Named persons",
        help_text="E-mail addresses, separated by commas. They take turns; nobody gets her own access.",
    )
    due_at = Moment(label="Due (UTC)")

    def clean_named(self) -> tuple[User, ...]:
        wanted = [text.strip().lower() for text in self.cleaned_data["named"].split(",") if text.strip()]
        if len(wanted) > NAMED_AT_MOST:
            raise ValidationError(f"At most {NAMED_AT_MOST}.")
        found = {person.email.lower(): person for person in User.objects.filter(email__in=wanted, is_active=True)}
        if missing := [address for address in wanted if address not in found]:
            raise ValidationError(f"There is nobody active of the address {missing[0]}.")
        return tuple(found[address] for address in wanted)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if fault := scope_fault(cleaned.get("scope", ""), cleaned.get("scope_name", "")):
            self.add_error("scope_name", fault)
        return cleaned

    def wish(self) -> ReviewWish:
        return ReviewWish(**self.cleaned_data)


class AccessReviews(GovernedPage):
    permission = VIEW
    title = "Access reviews"
    template_name = "console/attesting/access_reviews.html"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if refusal := self.refuse_unless(ADD):
            return refusal
        form = BeginForm(request.POST)
        if form.is_valid():
            try:
                review = access_reviews.begin(form.wish(), by=self.person)
            except CannotReview as reason:
                form.add_error(None, str(reason))
            else:
                messages.success(request, "It is begun, and its reviewers are told.")
                return redirect("access_review", review_id=review.pk)
        return self.render_to_response(self.get_context_data(form=form), status=400)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        rows = AccessReview.objects.annotate(
            total=Count("items"), left=Count("items", filter=Q(items__decision=""))
        ).order_by("-started_at")
        now = datetime.now(UTC)
        return {
            "form": BeginForm(initial={"due_at": now + LASTS}),
            "may_begin": self.may(ADD),
            "lines": [_line(row, now) for row in rows[:LISTED]],
            **super().get_context_data(**kwargs),
        }


class AccessReviewPage(GovernedPage):
    """How far it is, item by item; a POST signs it off."""

    permission = VIEW
    template_name = "console/attesting/access_review.html"

    @cached_property
    def review(self) -> AccessReview:
        rows = AccessReview.objects.annotate(total=Count("items"), left=Count("items", filter=Q(items__decision="")))
        return get_object_or_404(rows, pk=self.kwargs["review_id"])

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if refusal := self.refuse_unless(MANAGE):
            return refusal
        try:
            access_reviews.close(self.review, by=self.person, summary=request.POST.get("summary", ""))
        except CannotReview as reason:
            return self.render_to_response(self.get_context_data(problem=str(reason)), status=400)
        messages.success(request, "Signed off.")
        return redirect("access_review", review_id=self.review.pk)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        review, now = self.review, datetime.now(UTC)
        open_first = F("decided_at").desc(nulls_first=True)
        items = review.items.select_related("reviewer").order_by(open_first, "subject", "held")
        return {
            **_line(review, now),
            "items": items[:ITEMS_SHOWN],
            "more": max(0, review.items.count() - ITEMS_SHOWN),
            "may_manage": self.may(MANAGE),
            "typed": self.request.POST.get("summary", ""),
            **super().get_context_data(**kwargs),
            "title": review.title,
        }


class Remind(GovernedPage):
    permission = MANAGE
    http_method_names = ("post", "options")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        review = get_object_or_404(AccessReview, pk=kwargs["review_id"])
        try:
            told = access_reviews.remind(review, by=self.by)
        except CannotReview as reason:
            messages.error(request, str(reason))
        else:
            messages.success(request, f"{counted(told, 'reviewer')} reminded.")
        return redirect("access_review", review_id=review.pk)


def _line(review: Any, now: datetime) -> dict[str, Any]:
    is_open = review.state == AccessReview.State.OPEN
    is_late = is_open and review.due_at < now
    state = "Overdue" if is_late else review.get_state_display()
    tone = "bad" if is_late else "info" if is_open else "good"
    return {"row": review, "state": state, "tone": tone, "is_open": is_open, "done": review.total - review.left}
