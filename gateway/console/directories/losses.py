"""What the brake keeps waiting: who would lose what, and the two buttons."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from gateway import directories
from gateway.console.directories.pages import OfDirectory
from gateway.console.pages import GovernedPage
from gateway.console.wording import counted
from governance.directory_losses import WINDOW, most_at_once
from governance.house_rules import RuleBroken
from governance.models import DirectoryLoss
from governance.offboarding import CannotOffboard

MOST_AT_ONCE = 200
"""Each that leaves is an offboarding, and all that one click releases are one transaction."""


class Chosen(forms.Form):
    act = forms.ChoiceField(choices=(("release", "release"), ("drop", "drop")))
    loss = forms.CharField()

    def clean_loss(self) -> list[int]:
        texts = self.data.getlist("loss")  # type: ignore[attr-defined]
        if len(texts) > MOST_AT_ONCE or not all(text.isascii() and text.isdigit() for text in texts):
            raise ValidationError(f"Choose at most {MOST_AT_ONCE} people at once.")
        return [int(text) for text in texts]


class Losses(OfDirectory, GovernedPage):
    """A GET shows what would happen to whom; the POST lets it happen, or keeps people as they are."""

    permission = "governance.release_directory"
    template_name = "console/directories/losses.html"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = Chosen(request.POST)
        if not form.is_valid():
            problem = f"Nothing was done: tick whom it is about, at most {MOST_AT_ONCE} at once."
            return self.render_to_response(self.get_context_data(problem=problem), status=400)
        losses = list(self.waiting().filter(id__in=form.cleaned_data["loss"]))
        try:
            messages.success(request, self._done(form.cleaned_data["act"], losses))
        except (RuleBroken, CannotOffboard) as reason:
            return self.render_to_response(self.get_context_data(problem=str(reason)), status=400)
        return redirect("directory_losses", self.directory.pk)

    def waiting(self) -> Any:
        rows = self.directory.losses.filter(state=DirectoryLoss.State.HELD)
        return rows.select_related("user__person", "group").order_by("id")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        waiting = self.waiting()
        most = most_at_once(self.directory)
        return {
            **super().get_context_data(**kwargs),
            "title": f"What {self.directory} takes away waits for you",
            "directory": self.directory,
            "losses": waiting[:MOST_AT_ONCE],
            "total": waiting.count(),
            "effects": list(self._effects()),
            "most": "one person" if most == 1 else f"{most} people",
            "minutes": int(WINDOW.total_seconds() // 60),
        }

    def _effects(self) -> Iterable[str]:
        leaving = self.waiting().filter(kind=DirectoryLoss.Kind.LEAVES).count()
        others = self.waiting().filter(kind=DirectoryLoss.Kind.GROUP).values("user").distinct().count()
        if leaving:
            yield f"{counted(leaving, 'user')} would be offboarded: sessions, keys, tokens and grants end."
        if others:
            yield f"{counted(others, 'user')} would lose what a group gives."

    def _done(self, act: str, losses: list[DirectoryLoss]) -> str:
        if act == "release":
            done = directories.release_losses(self.directory, losses, acting=self.person)
            return f"Done for {counted(done, 'user')}."
        kept = directories.drop_losses(self.directory, losses, acting=self.person)
        return f"{counted(kept, 'user')} kept as they are."
