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
from governance.agent_keys import IssuedKey
from governance.models import Agent, AgentCredential

EXPIRY = {
    "30": "30 days",
    "90": "90 days",
    "180": "180 days",
    "365": "1 year",
    "never": "never; I will replace it myself",
}
DEFAULT_EXPIRY = "90"
MOST_AT_ONCE = 500


class IssueForm(OnceForm):
    """`never` is one of the choices, never what comes of leaving the field alone."""

    expiry = forms.ChoiceField(label="The key expires after", choices=tuple(EXPIRY.items()), initial=DEFAULT_EXPIRY)
    endpoint = forms.CharField(required=False, max_length=100, widget=forms.HiddenInput)

    def lasting(self) -> timedelta | None:
        expiry = self.cleaned_data["expiry"]
        return None if expiry == "never" else timedelta(days=int(expiry))


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

    def effects(self) -> Iterable[str]:
        yield "The key is shown once, on the next page, with the texts to set up a client."
        live = self.live_keys().count()
        if live:
            yield f"It has {counted(live, 'live key')} already. Issuing another ends none of them."

    def act(self, form: IssueForm) -> HttpResponseBase:
        try:
            issued = make_once(
                lambda: actions.issue_key(self.agent, by=self.by, expires_in=form.lasting()),
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
            "title": f"New key of {self.agent.name}",
            "issued": issued,
            "endpoint": endpoint,
            "clients": clients(endpoint, key=issued.key),
            "older": self.live_keys().exclude(pk=issued.credential.pk)[:MOST_AT_ONCE],
        }

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "endpoints": self.endpoints()}


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
