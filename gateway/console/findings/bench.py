"""The page of the test bench. What is pasted is answered and forgotten; that somebody tried is on record."""

from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import orjson
from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway import bench
from gateway.actions import act
from gateway.console.access.explain_page import tool_called
from gateway.console.pages import GovernedPage
from gateway.reach.current import current_snapshot
from governance.snapshot import Snapshot, Tool

MOST_MASKED: Final = 20_000
MOST_SUGGESTED: Final = 300


class BenchForm(forms.Form):
    snapshot: ClassVar[Snapshot]
    text = forms.CharField(
        max_length=bench.LONGEST,
        strip=False,
        label="Text or JSON",
        help_text=f"At most {bench.LONGEST:,} characters. It is not kept.",
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
    )
    direction = forms.ChoiceField(choices=list(bench.DIRECTIONS.items()), label="As")
    kinds = forms.MultipleChoiceField(
        choices=list(bench.KINDS.items()), label="Look for", widget=forms.CheckboxSelectMultiple
    )
    tool = forms.CharField(
        required=False,
        max_length=2100,
        label="At the tool",
        help_text="connector/tool. Empty: the rules of all tools.",
        widget=forms.TextInput(attrs={"list": "tools"}),
    )

    def clean_tool(self) -> Tool | None:
        name = self.cleaned_data["tool"].strip()
        tool = tool_called(name, self.snapshot) if name else None
        if name and tool is None:
            raise forms.ValidationError("There is no such tool in force.")
        return tool


class TestBench(GovernedPage):
    permission = bench.PERMISSION
    title = "Test bench"
    template_name = "console/findings/bench.html"
    http_method_names = ("get", "post", "head", "options")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = self.form(request.POST)
        if not form.is_valid():
            return self.answered(form, status=400)
        asked = form.cleaned_data
        trial = bench.Trial(asked["text"], asked["direction"], frozenset(asked["kinds"]), asked["tool"])
        try:
            seen = bench.look(trial, form.snapshot, now=datetime.now(UTC))
        except bench.NotJson as problem:
            form.add_error("text", str(problem))
            return self.answered(form, status=400)
        act(lambda record, _: record(trial.as_fact(seen)), by=self.by)
        return self.answered(form, seen=seen, masked=_shown(seen.masked), cut=max(0, len(seen.masked) - MOST_MASKED))

    def form(self, given: Any = None) -> BenchForm:
        form = BenchForm(given, initial={"direction": "arguments", "kinds": list(bench.KINDS)})
        form.snapshot = current_snapshot()  # type: ignore[misc]
        return form

    def answered(self, form: BenchForm, *, status: int = 200, **context: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form, **context), status=status)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        form = kwargs.pop("form", None) or self.form()
        names = sorted(f"{tool.connector.name}/{tool.name}" for tool in form.snapshot.tools.values())
        return {**super().get_context_data(**kwargs), "form": form, "tools": names[:MOST_SUGGESTED]}


def _shown(masked: str) -> str:
    return orjson.dumps(orjson.loads(masked), option=orjson.OPT_INDENT_2).decode()[:MOST_MASKED]
