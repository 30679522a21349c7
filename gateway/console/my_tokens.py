"""A person's own tokens for scripts: made here and nowhere else by hand, shown once, ended at any time."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from gateway import actions
from gateway.console.acting import person_of
from gateway.console.me import OwnPage
from gateway.console.once import OnceForm, ShownAlready, make_once
from gateway.console.step_up import is_fresh, sign_in_again
from governance.models import PersonalToken, User
from governance.personal_tokens import (
    DEFAULT_LIFETIME,
    LONGEST_LIFETIME,
    LONGEST_NAME,
    SCOPES,
    IssuedToken,
    NotIssuable,
    live_tokens,
    useful_scopes,
)

LIFETIMES = tuple((str(days), f"{days} days") for days in (7, 30, DEFAULT_LIFETIME.days, LONGEST_LIFETIME.days))


class TokenForm(OnceForm):
    name = forms.CharField(
        max_length=LONGEST_NAME, help_text="What it is for, so that you know later which one to end."
    )
    scopes = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple)
    days = forms.ChoiceField(label="Lives for", choices=LIFETIMES, initial=str(DEFAULT_LIFETIME.days))

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(name, SCOPES[name].description) for name in useful_scopes(person)]
        self.fields["scopes"].choices = choices  # type: ignore[attr-defined]


class MyTokens(OwnPage):
    template_name = "console/tokens.html"
    http_method_names = ("get", "post", "head", "options")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The answer to this POST is the only page that ever shows the token."""
        form = TokenForm(request.POST, person=self.person)
        if not is_fresh(request):
            page = self.render_to_response(self.get_context_data(form=form))
            return sign_in_again(request, as_typed=lambda: page)
        try:
            issued = self._issued(form) if form.is_valid() else None
        except ShownAlready as reason:
            messages.warning(request, str(reason))
            return redirect("personal_tokens")
        if issued is None:
            return self.render_to_response(self.get_context_data(form=form), status=400)
        return self.render_to_response(self.get_context_data(issued=issued))

    def _issued(self, form: TokenForm) -> IssuedToken | None:
        wish, by = form.cleaned_data, person_of(self.request)
        lifetime = timedelta(days=int(wish["days"]))

        def issue() -> IssuedToken:
            return actions.issue_token(self.person, name=wish["name"], scopes=wish["scopes"], by=by, lifetime=lifetime)

        try:
            return make_once(issue, ticket=wish["once"], by=by, told=_known_by)
        except NotIssuable as reason:
            form.add_error(None, str(reason))
            return None

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        facts = {
            "form": TokenForm(person=self.person),
            "tokens": live_tokens(self.now).filter(person=self.person),
            "issued": None,
        }
        return {**super().get_context_data(), **facts, **kwargs}


def _known_by(issued: IssuedToken) -> str:
    return f"this token's id is {issued.row.pk}, and it begins with {issued.row.hint}…"


class RevokeMyToken(OwnPage):
    """Ends one of her own; anybody else's does not exist here."""

    http_method_names = ("post",)

    def post(self, request: HttpRequest, token_id: Any) -> HttpResponseBase:
        row = get_object_or_404(PersonalToken, pk=token_id, person=self.person)
        by = person_of(request)
        actions.revoke_token(row, by=by)
        messages.success(request, f"The token “{row.name}” is ended.")
        return redirect("personal_tokens")
