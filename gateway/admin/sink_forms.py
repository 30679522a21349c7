"""The form of a sink: a field for each setting of its kind."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from django import forms

from audit.sinks import SINK_KINDS
from audit.sinks.fields import SETTINGS, Setting
from gateway import sink_acts
from gateway.console.base import LineOfText, MultiLineText, Select, Switch, WholeNumber
from gateway.sinks import sink_faults
from governance.destinations import may_present
from governance.models import Sink, User

BEFORE: Final = "setting_"
LONGEST: Final = 2_000
LONGEST_PEM: Final = 65_536


class SinkForm(forms.ModelForm):  # type: ignore[type-arg]
    """Of one kind, which `form_of` puts in."""

    kind_name: ClassVar[str]
    person: ClassVar[User]
    send_again_from = forms.CharField(
        required=False,
        max_length=40,
        widget=LineOfText,
        help_text="A leaf's number or a moment (2026-11-21 14:00): everything from there on is sent once more.",
    )

    class Meta:
        widgets = {"is_enabled": Switch}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        kind, stored = SINK_KINDS[self.kind_name], self.instance.settings or {}
        for setting in SETTINGS[self.kind_name]:
            if (field := self.fields.get(BEFORE + setting.name)) and setting.name in stored:
                field.initial = stored[setting.name]
        if "format" in self.fields:
            formats = [each for each in Sink.Format.choices if each[0] in kind.formats]
            self.fields["format"].choices = formats  # type: ignore[attr-defined]
        if "secret" in self.fields:
            self.fields["secret"].required = not kind.may_lack_it
            self.fields["secret"].help_text = f"{kind.needs}{', if it needs one' if kind.may_lack_it else ''}."

    def clean_send_again_from(self) -> int | None:
        text = str(self.cleaned_data["send_again_from"])
        try:
            return sink_acts.leaf_of(text) if text else None
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        before = Sink.objects.filter(pk=self.instance.pk).first()
        self.instance.settings = dict(_entered(self.kind_name, cleaned, before.settings if before else {}))
        found = sink_faults(
            self.kind_name,
            str(cleaned.get("format")),
            self.instance.settings,
            cleaned.get("secret"),
            before=before,
            may_show=lambda secret: may_present(secret, person=self.person),
        )
        for place, text in found:
            name = place.replace("settings.", BEFORE)
            self.add_error(name if name in self.fields else None, f"{text[:1].upper()}{text[1:]}")
        return cleaned


def _entered(kind: str, cleaned: Mapping[str, Any], stored: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is left at its usual value is left out, unless it is written down already."""
    for setting in SETTINGS[kind]:
        value = cleaned.get(BEFORE + setting.name)
        value = setting.usual if value is None or (value == "" and setting.shape != "flag") else value
        if value is not None and (value != setting.usual or setting.name in stored):
            yield setting.name, value


def form_of(kind: str, *, person: User, is_new: bool) -> type[SinkForm]:
    fields = {BEFORE + setting.name: field_of(setting) for setting in SETTINGS[kind]}
    label = SINK_KINDS[kind].label
    shown = {"kind": forms.ChoiceField(choices=((kind, label),), initial=kind, widget=Select)} if is_new else {}
    return type("SinkForm", (SinkForm,), {**fields, **shown, "kind_name": kind, "person": person})


def field_of(setting: Setting) -> forms.Field:
    about: dict[str, Any] = {
        "label": setting.label,
        "required": setting.usual is None,
        "initial": setting.usual,
        "help_text": setting.text,
    }
    if setting.shape == "flag":
        return forms.BooleanField(**{**about, "required": False}, widget=Switch)
    if setting.shape == "whole":
        return forms.IntegerField(**about, min_value=setting.least, max_value=setting.most, widget=WholeNumber)
    if setting.shape == "choice":
        return forms.ChoiceField(**about, choices=[(choice, choice) for choice in setting.choices], widget=Select)
    if setting.shape == "pem":
        return forms.CharField(**about, max_length=LONGEST_PEM, widget=MultiLineText)
    return forms.CharField(**about, max_length=LONGEST, widget=LineOfText)


def names_of(kind: str) -> tuple[str, ...]:
    return tuple(BEFORE + setting.name for setting in SETTINGS[kind])
