"""The form of a detector of somebody else's: a field for each setting of its kind."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from django import forms

from connectors.detectors import DETECTOR_KINDS
from connectors.detectors.settings import LONGEST, Setting
from gateway.console.base import LineOfText, Select, Switch
from gateway.detector_setup import detector_faults
from governance.destinations import may_present
from governance.models import ExternalDetector, User

BEFORE: Final = "setting_"


class DetectorForm(forms.ModelForm):  # type: ignore[type-arg]
    """Of one kind, which `form_of` puts in."""

    kind_name: ClassVar[str]
    person: ClassVar[User]

    class Meta:
        widgets: ClassVar = {"is_enabled": Switch, "send_known_secrets": Switch}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        kind, stored = DETECTOR_KINDS[self.kind_name], self.instance.settings or {}
        for setting in kind.settings:
            if (field := self.fields.get(BEFORE + setting.name)) and setting.name in stored:
                field.initial = stored[setting.name]
        if "most_bytes" in self.fields:
            self.fields["most_bytes"].help_text += f" {kind.label} takes at most {kind.most_bytes:,}."
        if "secret" in self.fields:
            self.fields["secret"].required = bool(kind.needs) and not kind.may_lack_it
            self.fields["secret"].help_text = f"{kind.needs}." if kind.needs else "It takes none."

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        before = ExternalDetector.objects.filter(pk=self.instance.pk).first()
        stored = before.settings if before else {}
        self.instance.settings = dict(_entered(DETECTOR_KINDS[self.kind_name].settings, cleaned, stored))
        found = detector_faults(
            self.kind_name,
            self.instance.settings,
            cleaned.get("secret"),
            most_bytes=cleaned["most_bytes"],
            before=before,
            may_show=lambda secret: may_present(secret, person=self.person),
        )
        for place, text in found:
            name = place.replace("settings.", BEFORE)
            self.add_error(name if name in self.fields else None, f"{text[:1].upper()}{text[1:]}")
        return cleaned


def _entered(
    known: tuple[Setting, ...], cleaned: Mapping[str, Any], stored: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """What is left at its usual value is left out, unless it is written down already."""
    for setting in known:
        value = cleaned.get(BEFORE + setting.name) or setting.usual or ""
        if value != (setting.usual or "") or setting.name in stored:
            yield setting.name, value


def form_of(kind: str, *, person: User, is_new: bool) -> type[DetectorForm]:
    fields = {BEFORE + setting.name: field_of(setting) for setting in DETECTOR_KINDS[kind].settings}
    label = DETECTOR_KINDS[kind].label
    shown = {"kind": forms.ChoiceField(choices=((kind, label),), initial=kind, widget=Select)} if is_new else {}
    return type("DetectorForm", (DetectorForm,), {**fields, **shown, "kind_name": kind, "person": person})


def field_of(setting: Setting) -> forms.Field:
    about: dict[str, Any] = {
        "label": setting.label,
        "required": setting.usual is None,
        "initial": setting.usual,
        "help_text": setting.text,
    }
    if setting.shape == "choice":
        return forms.ChoiceField(**about, choices=[(choice, choice) for choice in setting.choices], widget=Select)
    return forms.CharField(**about, max_length=LONGEST, widget=LineOfText)


def names_of(kind: str) -> tuple[str, ...]:
    return tuple(BEFORE + setting.name for setting in DETECTOR_KINDS[kind].settings)
