"""Keys of one agent: issued and shown once, revoked with a preview."""

from collections.abc import Iterable
from datetime import timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables

from gateway import actions
from gateway.client_setup import clients
from gateway.console.access.acts import ActPage, PlainAct
from gateway.console.once import OnceForm, ShownAlready, make_once
from gateway.console.wording import counted
from governance import rotation
from governance.agent_keys import LONGEST_LABEL, IssuedKey
from governance.models import Agent, AgentCredential
from governance.public_keys import LONGEST_TEXT, PublicKey, UnusableKey, read_public_key

EXPIRY = {
    "30": "30 days",
    "90": "90 days",
    "180": "180 days",
    "365": "1 year",
    "never": "never; I will replace it myself",
}
DEFAULT_EXPIRY = "90"
MOST_AT_ONCE = 500


KINDS = tuple((kind.value, kind.label) for kind in (AgentCredential.Kind.KEY, AgentCredential.Kind.CLIENT_SECRET))


def lasting_of(expiry: str) -> timedelta | None:
    return None if expiry == "never" else timedelta(days=int(expiry))


class ReplacedForm(forms.Form):
    rotates = forms.UUIDField(required=False)


class IssueForm(OnceForm):
    """`never` is one of the choices, never what comes of leaving the field alone."""

    kind = forms.ChoiceField(
        label="What it is",
        choices=KINDS,
        initial=AgentCredential.Kind.KEY,
        required=False,
        help_text="A key calls tools. A client secret asks for tokens, for clients that speak OAuth.",
    )
    label = forms.CharField(required=False, max_length=LONGEST_LABEL, help_text="Where it will be used, for humans.")
    expiry = forms.ChoiceField(label="The key expires after", choices=tuple(EXPIRY.items()), initial=DEFAULT_EXPIRY)
    endpoint = forms.CharField(required=False, max_length=100, widget=forms.HiddenInput)
    rotates = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def lasting(self) -> timedelta | None:
        return lasting_of(self.cleaned_data["expiry"])

    def wish(self, old: AgentCredential | None) -> actions.Wish:
        """A successor is of the kind, and for the person, of what it follows."""
        if old is not None:
            label = self.cleaned_data["label"] or old.label
            return actions.Wish(old.kind, self.lasting(), label, old.person, old.pk)
        kind = self.cleaned_data["kind"] or AgentCredential.Kind.KEY
        return actions.Wish(kind, self.lasting(), self.cleaned_data["label"])


class Unshown(forms.Textarea):
    """What was typed is not written back: it may be the private half."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


class RegisterForm(forms.Form):
    public_key = forms.CharField(
        max_length=LONGEST_TEXT,
        widget=Unshown(attrs={"rows": 10, "spellcheck": "false"}),
        help_text=(
            "One key as JWK or PEM: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519. The private half stays "
            "with the agent: never paste it anywhere."
        ),
    )
    label = forms.CharField(required=False, max_length=LONGEST_LABEL, help_text="Where it is used, for humans.")
    expiry = forms.ChoiceField(label="It expires after", choices=tuple(EXPIRY.items()), initial="365")

    def clean_public_key(self) -> PublicKey:
        try:
            return read_public_key(self.cleaned_data["public_key"])
        except UnusableKey as reason:
            raise ValidationError(str(reason)) from None


@method_decorator(sensitive_variables("issued", "context"), name="act")
class IssueKey(ActPage):
    """The answer to the POST is the only page that ever shows the key; nothing else of ours keeps or repeats it."""

    permission = "governance.issue_agentcredential"
    template_name = "console/access/issue_key.html"
    form_class = IssueForm
    verb = "Issue a key for"

    def impossible(self) -> str:
        if self.agent.status != Agent.Status.LIVE:
            return f"The agent is {self.agent.status}. Only a live agent gets a key."
        return "" if self.agent.owner.is_active else "Its owner is not active. Transfer the agent first."

    @cached_property
    def replaced(self) -> AgentCredential | None:
        """The live one whose place it takes, as the address or the form says."""
        form = ReplacedForm(self.request.POST if self.request.method == "POST" else self.request.GET)
        wanted = form.cleaned_data["rotates"] if form.is_valid() else None
        return self.live_keys().select_related("person").filter(pk=wanted).first() if wanted else None

    def effects(self) -> Iterable[str]:
        yield "The key is shown once, on the next page, with the texts to set up a client."
        live = self.live_keys().count()
        if self.replaced is not None:
            hours = int(rotation.terms().overlap.total_seconds() // 3600)
            yield f"It takes the place of {self.replaced.hint}…, which ends by itself {counted(hours, 'hour')} later."
        elif live:
            yield f"It has {counted(live, 'live key')} already. Issuing another ends none of them."

    def act(self, form: IssueForm) -> HttpResponseBase:
        try:
            issued = make_once(
                lambda: actions.issue(self.agent, form.wish(self.replaced), by=self.by),
                ticket=form.cleaned_data["once"],
                by=self.by,
                told=known_by,
            )
        except ShownAlready as reason:
            messages.warning(self.request, str(reason))
            return redirect("agent_overview", self.agent.pk)
        context = self._shown_once(issued, form.cleaned_data["endpoint"])
        return self.response_class(self.request, ["console/access/key_issued.html"], context)

    def _shown_once(self, issued: IssuedKey, endpoint_name: str) -> dict[str, Any]:
        endpoint = self.endpoint(endpoint_name)
        return {
            **self.get_context_data(),
            "title": f"New {issued.credential.get_kind_display().lower()} of {self.agent.name}",
            "issued": issued,
            "endpoint": endpoint,
            "clients": clients(endpoint, key=issued.key) if issued.credential.kind == AgentCredential.Kind.KEY else [],
            "older": self.live_keys().exclude(pk=issued.credential.pk)[:MOST_AT_ONCE],
        }

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        form = self.form_class(initial={"rotates": self.replaced.pk if self.replaced else None})
        more = {"endpoints": self.endpoints(), "replaced": self.replaced}
        return {**super().get_context_data(**{"form": form, **kwargs}), **more}


@method_decorator(sensitive_variables(), name="post")
class RegisterKey(PlainAct):
    permission = "governance.issue_agentcredential"
    form_class = RegisterForm
    verb = "Register a public key for"

    def impossible(self) -> str:
        return "" if self.agent.status == Agent.Status.LIVE else f"The agent is {self.agent.status}."

    def effects(self) -> Iterable[str]:
        yield "The agent proves itself by signing with the private half. Nothing secret is kept here."
        yield "A key that was ever registered, for any agent, is refused."

    def perform(self, form: forms.Form, *, by: str) -> str:
        wish = actions.Wish(expires_in=lasting_of(form.cleaned_data["expiry"]), label=form.cleaned_data["label"])
        row = actions.register_public_key(self.agent, form.cleaned_data["public_key"], wish, by=by)
        return f"{row.hint} is registered."


def known_by(issued: IssuedKey) -> str:
    """For who has lost sight of it: enough to find the key, nothing of its secret."""
    return f"this key's id is {issued.credential.pk}, and it begins with {issued.credential.hint}…"


class ChosenKeys(forms.Form):
    """Which keys, by id."""

    key = forms.CharField()

    def clean_key(self) -> list[UUID]:
        texts = self.data.getlist("key")  # type: ignore[attr-defined]
        if len(texts) > MOST_AT_ONCE:
            raise ValidationError(f"Choose at most {MOST_AT_ONCE} keys at once.")
        try:
            return [UUID(text) for text in texts]
        except ValueError:
            raise ValidationError("This is no key id.") from None


class RevokeKeys(PlainAct):
    """The preview is of the keys that its address names, or of all that are live; done is what the preview named."""

    permission = "governance.revoke_agentcredential"
    template_name = "console/access/revoke_keys.html"
    form_class = ChosenKeys
    verb = "Revoke"
    tone = "danger"

    @cached_property
    def chosen(self) -> list[AgentCredential]:
        keys = self.agent.credentials.filter(revoked_at=None).select_related("agent")
        if self.request.method == "GET" and "key" not in self.request.GET:
            return list(keys[:MOST_AT_ONCE])
        form = ChosenKeys(self.request.GET if self.request.method == "GET" else self.request.POST)
        return list(keys.filter(pk__in=form.cleaned_data["key"])) if form.is_valid() else []

    def impossible(self) -> str:
        return "" if self.chosen else "None of the chosen keys is live."

    def effects(self) -> Iterable[str]:
        count = len(self.chosen)
        left = self.agent.credentials.filter(revoked_at=None).count() - count
        yield f"{counted(count, 'key')} of {self.agent.name} can start no further call, from the moment you confirm."
        if left:
            yield f"It keeps {counted(left, 'key')}."
        else:
            yield "It has no other key, so it is refused until it gets one."
        yield "This cannot be undone."

    def perform(self, form: forms.Form, *, by: str) -> str:
        return f"{counted(actions.revoke_keys(self.chosen, by=by), 'key')} revoked."

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        title = f"Revoke {counted(len(self.chosen), 'key')} of {self.agent.name}?"
        return {"chosen": self.chosen, **super().get_context_data(**{"title": title, **kwargs})}
