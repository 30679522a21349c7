"""The two forms of the wizard that ask for more than ticks."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.views.decorators.debug import sensitive_variables

from governance.destinations import SENT_ELSEWHERE, may_send
from governance.manifest.common import check_url
from governance.models import Agent, Bundle, Connector, Secret, User
from governance.models.base import name_validator
from governance.models.secrets import header_name_validator
from governance.vault import UnusableSecret, check_presentable

NAME_HELP = "Lower-case letters, digits and hyphens. It cannot be changed later."
_DULL_LABELS = frozenset(
    ["www", "mcp", "api", "com", "org", "net", "io", "app", "dev", "cloud", "internal", "local", "localhost", "example"]
)


def suggested_name(address: str) -> str:
    """The telling part of the host: `https://mcp.helpdesk.example.com/mcp` is `helpdesk`."""
    host = (urlsplit(address).hostname or "").lower()
    labels = [re.sub(r"[^a-z0-9-]", "-", label).strip("-") for label in host.split(".")]
    telling = [label for label in labels if label and label not in _DULL_LABELS and not label.isdigit()]
    return telling[0][:63] if telling else "my-server"


def free_name(name: str) -> str:
    """Or with a number behind, if a connector has it."""
    taken = set(Connector.objects.filter(name__startswith=name[:58]).values_list("name", flat=True))
    numbered = (f"{name[:58]}-{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(each for each in numbered if each not in taken)


def addresses(cleaned: Mapping[str, Any], connector: Connector | None) -> list[str]:
    """All that the connector will have: the wizard changes the first, and replicas stay."""
    return [cleaned["url"], *(connector.urls[1:] if connector else ())]


class AddressForm(forms.Form):
    """Where the system is, what it is called, and what we show it. The value of a secret is never repeated."""

    url = forms.CharField(
        label="Address",
        max_length=2000,
        widget=forms.TextInput(
            attrs={"type": "url", "placeholder": "https://helpdesk.example.com/mcp", "autofocus": True, "size": 60}
        ),
        help_text="Where the MCP server listens (Streamable HTTP). It often ends in /mcp.",
    )
    name = forms.CharField(label="Name", required=False, max_length=63, help_text=NAME_HELP)
    use = forms.ChoiceField(
        label="Secret",
        choices=[("none", "None"), ("new", "A new secret"), ("existing", "A secret we have")],
        initial="none",
        widget=forms.RadioSelect,
    )
    secret = forms.ModelChoiceField(Secret.objects.all(), required=False, label="Which", empty_label="Choose one")
    kind = forms.ChoiceField(
        required=False,
        label="How it is shown",
        choices=[
            (Secret.Kind.BEARER, "Bearer token"),
            (Secret.Kind.HEADER, "Header of your choice"),
            (Secret.Kind.BASIC, "User and password"),
        ],
    )
    header_name = forms.CharField(
        required=False, label="Header", max_length=64, validators=[header_name_validator], help_text="E.g. X-Api-Key."
    )
    value = forms.CharField(
        required=False,
        strip=False,
        max_length=64 * 1024,
        label="Value",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}, render_value=False),
        help_text="Write-only: sealed when you continue, never shown again. User and password: write user:password.",
    )

    def __init__(self, *args: Any, person: User, connector: Connector | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._person = person
        self._connector = connector
        if connector is not None:
            self.fields["name"].disabled = True

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        try:
            check_url(url)
        except ValueError as error:
            raise ValidationError(f"Write the whole address, e.g. https://helpdesk.example.com/mcp: {error}.") from None
        return url

    def clean_name(self) -> str:
        if self._connector is not None:
            return self._connector.name
        name: str = self.cleaned_data["name"]
        if not name:
            return free_name(suggested_name(self.cleaned_data.get("url", "")))
        name_validator(name)
        if Connector.objects.filter(name=name).exists():
            raise ValidationError(f"A connector has this name already. {free_name(name)} is free.")
        return name

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("use") == "existing":
            self._check_existing(cleaned)
        elif cleaned.get("use") == "new":
            self._check_new(cleaned)
        return cleaned

    def _check_existing(self, cleaned: dict[str, Any]) -> None:
        secret = cleaned.get("secret")
        if secret is None:
            self.add_error("secret", "Choose a secret.")
        elif "url" in cleaned and not may_send(secret, addresses(cleaned, self._connector), person=self._person):
            self.add_error("secret", SENT_ELSEWHERE)

    @sensitive_variables()
    def _check_new(self, cleaned: dict[str, Any]) -> None:
        kind, header, value = cleaned.get("kind", ""), cleaned.get("header_name", ""), cleaned.get("value", "")
        if (kind == Secret.Kind.HEADER) != bool(header):
            self.add_error("header_name", "Name the header for “Header of your choice”, and only for it.")
        elif not value:
            self.add_error("value", "Enter the value.")
        else:
            try:
                check_presentable(kind, header, value)
            except UnusableSecret as reason:
                self.add_error("value", str(reason))


class PublishForm(forms.Form):
    """Into which bundle, which tools, and for whom."""

    bundle = forms.ModelChoiceField(Bundle.objects.all(), required=False, widget=forms.HiddenInput)
    bundle_name = forms.CharField(
        label="Name of the bundle",
        required=False,
        max_length=63,
        help_text="A bundle is what agents get together. Its name stands in their address: /mcp/<name>.",
    )
    tools = forms.MultipleChoiceField(required=False)
    receiver = forms.ChoiceField(
        label="Who gets it",
        choices=[("nobody", "Nobody yet"), ("existing", "An agent we have"), ("new", "A new agent")],
        widget=forms.RadioSelect,
    )
    agent = forms.ModelChoiceField(
        Agent.objects.filter(status=Agent.Status.LIVE), required=False, label="Which", empty_label="Choose one"
    )
    agent_name = forms.CharField(
        label="Name of the agent", required=False, max_length=63, help_text="E.g. my-laptop. You are answerable for it."
    )
    seen = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, tools: list[str], may_give: bool, may_add_agent: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tools"].choices = [(name, name) for name in tools]  # type: ignore[attr-defined]
        allowed = (
            {"nobody"} | ({"existing"} if may_give else set()) | ({"new"} if may_give and may_add_agent else set())
        )
        receiver = self.fields["receiver"]
        receiver.choices = [choice for choice in receiver.choices if choice[0] in allowed]  # type: ignore[attr-defined]

    def clean_tools(self) -> list[str]:
        if not self.cleaned_data["tools"]:
            raise ValidationError("Choose at least one tool.")
        return list(self.cleaned_data["tools"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("bundle") is None:
            self._check_free("bundle_name", cleaned.get("bundle_name", ""), Bundle)
        if cleaned.get("receiver") == "new":
            self._check_free("agent_name", cleaned.get("agent_name", ""), Agent)
        elif cleaned.get("receiver") == "existing" and cleaned.get("agent") is None:
            self.add_error("agent", "Choose an agent.")
        return cleaned

    def _check_free(self, field: str, name: str, model: Any) -> None:
        try:
            name_validator(name)
        except ValidationError as error:
            self.add_error(field, error)
            return
        if model.objects.filter(name=name).exists():
            self.add_error(field, "This name is taken.")
