"""An OAuth client that does not describe itself: added by hand, its secret shown once."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables

from gateway.actions import act
from gateway.console.once import OnceForm, ShownAlready, make_once
from gateway.console.pages import GovernedPage
from governance import oauth_clients
from governance.agent_clients import JWT_BEARER
from governance.oauth_clients import CODE, DEVICE, LONGEST_REDIRECT, MOST_REDIRECTS, REFRESH, BadClient, Registered

LIST = "admin:governance_oauthclient_changelist"
WAYS = (
    (CODE, "A person agrees in her browser"),
    (REFRESH, "It renews by itself, without asking her each hour"),
    (DEVICE, "A person agrees for a device without a browser, by a code"),
    (JWT_BEARER, "The identity provider vouches for the person (needs a secret)"),
)


class ClientForm(OnceForm):
    name = forms.CharField(max_length=100, help_text="What people read when they are asked to let it in.")
    redirect_uris = forms.CharField(
        label="Where codes go",
        required=False,
        max_length=MOST_REDIRECTS * LONGEST_REDIRECT,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="Redirect URIs, one a line; https, an address of the person's own machine, or an app's scheme.",
    )
    grant_types = forms.MultipleChoiceField(
        label="Ways to a token", choices=WAYS, initial=[CODE, REFRESH], widget=forms.CheckboxSelectMultiple
    )
    has_secret = forms.BooleanField(
        label="It keeps a secret",
        required=False,
        help_text="For a program on a server. What runs on people's machines cannot keep one.",
    )

    def clean_redirect_uris(self) -> list[str]:
        return [line.strip() for line in self.cleaned_data["redirect_uris"].splitlines() if line.strip()]


@method_decorator(sensitive_variables("made", "context"), name="post")
class AddClient(GovernedPage):
    """The answer to the POST is the only page that ever shows the secret."""

    permission = "governance.add_oauthclient"
    title = "Add an OAuth client"
    template_name = "console/access/add_client.html"
    http_method_names = ("get", "post", "head", "options")

    def as_typed(self) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=ClientForm(self.request.POST)))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = ClientForm(request.POST)
        try:
            made = self._made(form) if form.is_valid() else None
        except ShownAlready as reason:
            messages.warning(request, str(reason))
            return redirect(LIST)
        except BadClient as bad:
            form.add_error(bad.field, str(bad))
            made = None
        if made is None:
            return self.render_to_response(self.get_context_data(form=form), status=400)
        context = self.get_context_data(made=made, title="The client is added")
        return self.response_class(request, ["console/access/client_added.html"], context)

    def _made(self, form: ClientForm) -> Registered:
        """Raises ShownAlready, and BadClient."""
        wish = form.cleaned_data

        def made() -> Registered:
            return act(
                lambda record, now: oauth_clients.register(
                    name=wish["name"],
                    redirect_uris=wish["redirect_uris"],
                    grant_types=wish["grant_types"],
                    has_secret=wish["has_secret"],
                    registered_by=self.person,
                    by=self.by,
                    record=record,
                    now=now,
                ),
                by=self.by,
            )

        return make_once(made, ticket=wish["once"], by=self.by, told=_known_by)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {"form": ClientForm(), "effects": list(_effects()), **super().get_context_data(**kwargs)}


def _effects() -> Iterable[str]:
    yield "Everybody here can let it in from that moment, each for what she herself may."
    yield "Clients that describe themselves at an address of their own need no entry here: they come by themselves."


def _known_by(made: Registered) -> str:
    return f"the client's id is {made.client.client_id}"
