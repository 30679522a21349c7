"""Channels that tell of approvals, and who the accounts of a chat are."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from gateway.console.base import GovernedModelAdmin, Switch, display, named
from governance.duties import may_sign_in_as
from governance.models import ChatIdentity, NotificationChannel, Secret, User
from governance.notification_channels import is_plain_address, is_slack

Kind = NotificationChannel.Kind
WORKSPACE_LETTERS, ACCOUNT_LETTERS = "TE", "UW"
"""First letters of the ids that Slack gives to workspaces and organisations, and to accounts."""


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        widgets = {"is_enabled": Switch, "allows_decisions": Switch}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = self.instance.kind if self.instance.pk and "kind" not in cleaned else cleaned.get("kind")
        if kind == Kind.SLACK:
            self._need(cleaned, "target", "Which channel: its id, e.g. C0123456789.")
            if cleaned.get("url") and not is_slack(cleaned["url"]):
                self.add_error("url", "The bot token goes there: only to slack.com or slack-gov.com. Mostly empty.")
            self._need(cleaned, "secret", "Choose the secret with the bot token (xoxb-…).")
            if cleaned.get("allows_decisions"):
                self._need(cleaned, "signing_secret", "Without it nobody can tell whether a press comes from Slack.")
        elif kind == Kind.WEBHOOK:
            self._need(cleaned, "url", "Where to send it.")
            self._need(cleaned, "secret", "Choose the secret by which receivers know that a message is ours.")
            if cleaned.get("allows_decisions"):
                self.add_error("allows_decisions", "Only a chat can decide.")
        self._check_secrets(cleaned)
        return cleaned

    def clean_url(self) -> str:
        url = str(self.cleaned_data["url"])
        if url and not is_plain_address(url):
            raise ValidationError("Write a plain address, e.g. https://hooks.example.com/gatehouse.")
        return url

    def _need(self, cleaned: dict[str, Any], field: str, message: str) -> None:
        if not cleaned.get(field):
            self.add_error(field, message)

    def _check_secrets(self, cleaned: dict[str, Any]) -> None:
        for field in ("secret", "signing_secret"):
            secret = cleaned.get(field)
            if secret is not None and secret.kind != Secret.Kind.BEARER:
                self.add_error(field, "Choose a secret of the kind “Bearer token”.")
            elif secret is not None and secret.connectors.exists():
                self.add_error(field, "A connector shows this secret to its system. Make one of its own for this.")


@admin.register(NotificationChannel)
class NotificationChannelAdmin(GovernedModelAdmin):
    form = ChannelForm
    fixed_fields = ("name", "kind")
    empty_hint = "E-mail goes to people by itself. A channel tells a chat or a program besides."
    list_display = ("name", "kind", "target", "told_of", "allows_decisions", "is_enabled")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name", "title", "target")
    autocomplete_fields = ("teams",)
    fieldsets = (
        (None, {"fields": ("name", "title", "kind", "is_enabled")}),
        (
            "Where to",
            {
                "fields": ("url", "target", "teams"),
                "description": "Without teams it hears of every request; with teams of those they are asked about.",
            },
        ),
        ("What proves it", {"fields": ("secret", "signing_secret")}),
        (
            "Deciding",
            {
                "fields": ("allows_decisions",),
                "description": "A press in a chat proves less than a sign-in. It counts only where the rule allows it, "
                "too, and only for accounts listed under chat identities.",
            },
        ),
    )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest | None, **kwargs: Any) -> Any:
        if db_field.name == "url":
            kwargs["assume_scheme"] = "https"
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_queryset(self, request: HttpRequest) -> QuerySet[NotificationChannel]:
        return super().get_queryset(request).prefetch_related("teams")  # type: ignore[no-any-return]

    @display(description="Hears of")
    def told_of(self, channel: NotificationChannel) -> str:
        return named("what is asked of", [team.name for team in channel.teams.all()]) or "everything"


class IdentityForm(forms.ModelForm):  # type: ignore[type-arg]
    acting: ClassVar[User]

    def clean_person(self) -> User:
        """A press in a chat counts as hers: nobody gives herself the word of somebody with a duty she lacks."""
        person: User = self.cleaned_data["person"]
        if not may_sign_in_as(self.acting, person):
            raise ValidationError("She has duties that you lack. Somebody who has them too, or an owner, adds her.")
        return person

    def clean_workspace(self) -> str:
        return _slack_id(self.cleaned_data["workspace"], WORKSPACE_LETTERS, "T0123456789")

    def clean_account(self) -> str:
        return _slack_id(self.cleaned_data["account"], ACCOUNT_LETTERS, "U0123456789")


@admin.register(ChatIdentity)
class ChatIdentityAdmin(GovernedModelAdmin):
    form = IdentityForm
    empty_hint = "Whoever is not listed here decides nothing in a chat, whatever she is called there."
    list_display = ("account", "workspace", "person", "channel")
    list_filter = ("channel",)
    list_select_related = ("channel", "person")
    search_fields = ("account", "workspace", "person__email", "person__name")
    autocomplete_fields = ("channel", "person")
    fields = ("channel", "workspace", "account", "person")

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        form = super().get_form(request, *args, **options)
        form.acting = request.user
        return form


def _slack_id(text: Any, letters: str, example: str) -> str:
    """Names change hands; ids do not."""
    found = str(text).strip()
    if not found or found[0] not in letters or not found.isascii() or not found.isalnum() or not found.isupper():
        raise ValidationError(f"Write the id that Slack gives, e.g. {example}; a name proves nothing.")
    return found
