"""What is found in definitions of tools, and how long that may take."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from governance import definition_findings
from governance.definition_findings import inspected


def test_to_load_the_engine_takes_nothing_of_the_time_for_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    load = definition_findings.import_string

    def loads_slowly(path: str) -> Callable[..., Any]:
        until = time.thread_time() + 2
        while time.thread_time() < until:
            pass
        return load(path)

    load("governance.inspection.tool_definitions.inspect_definition")
    monkeypatch.setattr(definition_findings, "import_string", loads_slowly)
    assert list(inspected([{"name": "greet"}, {"name": "bye"}], cpu_seconds=1.5)) == [(), ()]


def test_what_is_not_looked_at_in_time_counts_as_suspicious() -> None:
    (remarks,) = inspected([{"name": "greet"}], cpu_seconds=-1)
    assert [remark.rule for remark in remarks] == ["limit.time"]
