"""Manifests and plans as text. Pure."""

import difflib
from collections.abc import Iterator
from typing import Any

import yaml

from governance.manifest.plan import Plan, Step
from governance.manifest.reader import reads_as_text
from governance.manifest.schema import LABELS, Manifest, dump, dump_entry
from governance.registry import Registration

MARKS = {"create": "+", "update": "~"}
LINE_WIDTH = 110


class _Dumper(yaml.SafeDumper):
    """Quotes whatever our reader would not read back as text: PyYAML itself follows the older YAML 1.1."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = None if reads_as_text(text) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(str, _Dumper.represent_text)


def to_yaml(manifest: Manifest) -> str:
    return _yaml(dump(manifest))


def _yaml(plain: Any) -> str:
    return str(yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_WIDTH))


def plan_lines(plan: Plan) -> Iterator[str]:
    """The plan as a diff, then its warnings. Values of secrets are not in it."""
    for step in plan.steps:
        yield from _step_lines(step)
    for name, done in plan.registrations.items():
        yield from (f"+ tool {name}/{tool} (pinned)" for tool in done.pinned)
        yield from (f"~ tool {name}/{tool} ({_why(tool, done)})" for tool in done.waiting)
    yield from (f"warning: {warning}" for warning in plan.warnings)


def _why(tool: str, done: Registration) -> str:
    return "waits for review: suspicious" if tool in done.held else "waits for review"


def _step_lines(step: Step) -> Iterator[str]:
    notes = f" ({', '.join(step.notes)})" if step.notes else ""
    action = "" if step.action in MARKS else f" ({step.action})"
    yield f"{MARKS.get(step.action, '-')} {LABELS[step.kind]} {step.key}{action}{notes}"
    before, after = (_yaml(dump_entry(entry)) if entry else "" for entry in (step.before, step.after))
    if step.after is not None:
        changes = difflib.ndiff(before.splitlines(), after.splitlines())
        yield from (f"    {line}" for line in changes if line.startswith(("+ ", "- ")))


def plan_as_json(plan: Plan) -> dict[str, Any]:
    return {
        "changes": [step.as_json() for step in plan.steps],
        "tools": {
            name: {"pinned": list(done.pinned), "waiting": list(done.waiting), "vanished": list(done.vanished)}
            for name, done in plan.registrations.items()
        },
        "warnings": list(plan.warnings),
    }
