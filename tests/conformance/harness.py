"""The official suite `@modelcontextprotocol/conformance` as a function: run it, read its checks.

Its exit status leaves out what it does not score (extensions, pending scenarios, late additions), so `checks.json` is
what counts.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.installation import REPOSITORY

SUITE = REPOSITORY / "tests/node/node_modules/@modelcontextprotocol/conformance/dist/index.js"
NODE_MAJOR = 22
RUN_SECONDS = 110
SCENARIO_MILLISECONDS = 30_000
FOLDER = re.compile(r"^(?:server-)?(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z$")
FAILED, WARNED, PASSED = "FAILURE", "WARNING", "SUCCESS"

MODERN = ("--requirements", "2026-07-28")
LEGACY = ("--requirements", "2025-11-25")
EARLIER = ("--suite", "all", "--spec-version", "2025-06-18")
FIRST = ("--suite", "all", "--spec-version", "2025-03-26")


@dataclass(frozen=True, slots=True)
class Check:
    scenario: str
    id: str
    status: str
    message: str
    details: object

    def __str__(self) -> str:
        return f"{self.scenario}: {self.id}: {self.message}\n    {json.dumps(self.details)[:2000]}"


@dataclass(frozen=True, slots=True)
class Report:
    checks: tuple[Check, ...]
    output: str

    def of(self, scenarios: Iterable[str]) -> "Report":
        wanted = frozenset(scenarios)
        return Report(tuple(check for check in self.checks if check.scenario in wanted), self.output)

    @property
    def scenarios(self) -> frozenset[str]:
        return frozenset(check.scenario for check in self.checks)

    @property
    def passed(self) -> int:
        return sum(check.status == PASSED for check in self.checks)

    def wrong(self) -> dict[str, str]:
        """`scenario: check` -> what the suite says about it. A warning counts like a failure."""
        return {f"{check.scenario}: {check.id}": str(check) for check in (*self.failures(), *self.warnings())}

    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.status == FAILED)

    def warnings(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.status == WARNED)


def node() -> str | None:
    """The interpreter for the suite."""
    return os.environ.get("GATEHOUSE_NODE") or shutil.which("node")


def is_new_enough(program: str) -> bool:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True)
    return int(done.stdout.removeprefix("v").partition(".")[0]) >= NODE_MAJOR


def judge_server(url: str, *words: str, results: Path) -> Report:
    return run("server", "--url", url, *words, results=results)


def run(*words: str, results: Path, environment: Mapping[str, str] | None = None) -> Report:
    program = node()
    assert program is not None, "Node is missing"
    timeout = ("--timeout", str(SCENARIO_MILLISECONDS))
    done = subprocess.run(
        [program, str(SUITE), *words, *timeout, "-o", str(results)],
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    report = Report(tuple(checks_in(results)), done.stdout + done.stderr)
    assert report.checks, report.output[-3000:]
    return report


def checks_in(results: Path) -> Iterable[Check]:
    for file in sorted(results.rglob("checks.json")):
        folder = FOLDER.match(str(file.parent.relative_to(results)))
        assert folder is not None, file
        for check in json.loads(file.read_text()):
            message = check.get("errorMessage") or check.get("description", "")
            yield Check(folder["scenario"], check["id"], check["status"], message, check.get("details"))
