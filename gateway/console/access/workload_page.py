"""A workload of a trusted platform is an agent without a secret: what the platform's tokens have to say of it."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from gateway import actions
from gateway.console.access.acts import PlainAct
from gateway.console.access.key_pages import EXPIRY, lasting_of
from governance.agent_keys import LONGEST_LABEL
from governance.models import Agent, TrustedIssuer
from governance.workloads import LONGEST_NAME, LONGEST_PATTERN, MOST_CLAIMS, in_words

LONGEST_TEXT = MOST_CLAIMS * (LONGEST_NAME + LONGEST_PATTERN + 10)


class Claims(forms.Field):
    """name = value, one a line."""

    def to_python(self, value: Any) -> Mapping[str, str]:
        claims: dict[str, str] = {}
        if len(value or "") > LONGEST_TEXT:
            raise ValidationError(f"At most {MOST_CLAIMS} claims, in {LONGEST_TEXT} characters.")
        for line in filter(str.strip, str(value or "").splitlines()):
            name, is_there, pattern = (part.strip() for part in line.partition("="))
            if not is_there or name in claims:
                raise ValidationError("Write each claim once, as name = value, one a line.")
            claims[name] = pattern
        return claims


class WorkloadForm(forms.Form):
    issuer = forms.ModelChoiceField(
        TrustedIssuer.objects.filter(kind=TrustedIssuer.Kind.WORKLOAD, is_enabled=True).order_by("name"),
        label="Who vouches for it",
        to_field_name="name",
        help_text="A platform whose word counts here: GitHub Actions, a Kubernetes cluster.",
    )
    claims = Claims(
        label="What its tokens must say",
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="One claim a line, all must be so, * stands for any text: repository = octo/app. "
        "What would let in everybody on the platform is refused.",
    )
    label = forms.CharField(required=False, max_length=LONGEST_LABEL, help_text="Where it runs, for humans.")
    expiry = forms.ChoiceField(label="It expires after", choices=tuple(EXPIRY.items()), initial="365")


class RegisterWorkload(PlainAct):
    permission = "governance.issue_agentcredential"
    form_class = WorkloadForm
    verb = "Register a workload as"

    def impossible(self) -> str:
        if self.agent.status != Agent.Status.LIVE:
            return f"The agent is {self.agent.status}."
        if not WorkloadForm().fields["issuer"].queryset.exists():  # type: ignore[attr-defined]
            return "No platform is trusted yet. Add one of the kind workload under Trusted issuers first."
        return ""

    def effects(self) -> Iterable[str]:
        yield "Whatever the platform says this of is the agent, and stores no secret: it buys tokens that last minutes."
        yield "Revoke it like a key; the platform's own word ends it, too."

    def perform(self, form: forms.Form, *, by: str) -> str:
        wish = form.cleaned_data
        lasting = lasting_of(wish["expiry"])
        actions.register_workload(
            self.agent, wish["issuer"], wish["claims"], by=by, expires_in=lasting, label=wish["label"]
        )
        return f"{self.agent.name} is whatever {wish['issuer'].name} says this of: {in_words(wish['claims'])}."
