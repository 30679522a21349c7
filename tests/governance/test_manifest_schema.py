"""What a manifest may say, and how it is told what it may not."""

import json
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from django.conf import settings
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from connectors.kinds import KINDS as CONNECTOR_KINDS
from governance.manifest.common import Entry
from governance.manifest.content_entries import CanaryEntry, ClassCaseEntry, DataClassEntry, DetectionOffEntry
from governance.manifest.detector_entries import DetectorEntry
from governance.manifest.entries import (
    BundleEntry,
    BusinessHours,
    ConnectorEntry,
    Holiday,
    LimitEntry,
    NotificationEntry,
    OrganizationEntry,
    PersonEntry,
    RetentionEntry,
    Rotation,
    ShiftEntry,
    TeamEntry,
    ToolEntry,
    ToolsEntry,
)
from governance.manifest.issuer_entries import IssuerEntry
from governance.manifest.reader import BadManifest
from governance.manifest.rule_entries import (
    CaseEntry,
    PolicyEntry,
    ReactionEntry,
    RoleEntry,
    RuleEntry,
    Schedule,
    ScopeEntry,
)
from governance.manifest.schema import SECTIONS, Manifest, Source, dump, json_schema, parse
from governance.manifest.sink_entries import SinkEntry
from governance.manifest.text import to_yaml
from governance.models import Sink
from governance.time_of_day import WEEKDAYS
from tests.governance.manifests import EXAMPLE, HEADER, KINDS, manifest


def complaint(text: str, *, header: str = HEADER) -> str:
    with pytest.raises(BadManifest) as caught:
        parse([Source("org.yaml", (header + text).encode())], kinds=KINDS)
    return str(caught.value)


NOT_IN_EXAMPLE = ("sinks", "data_classes", "detectors", "canaries", "detection_off")


def test_the_documented_example() -> None:
    parsed = parse([Source("org.yaml", EXAMPLE.encode())], kinds=KINDS)
    assert list(parsed.sections) == [kind for kind in SECTIONS if kind not in NOT_IN_EXAMPLE]
    role = parsed.by_key("roles")["support-agent"]
    assert role.schedule == Schedule(days=("mon", "tue", "wed", "thu", "fri"), opens="08:00", closes="19:00")
    rule = parsed.by_key("policies")["refunds-need-a-human"].rules[0]
    assert (rule.effect, rule.when, rule.approvers) == (
        "ask",
        "args.amount > 100",
        {"team": "support-leads"},
    )


def test_what_this_version_does_not_know_yet_is_refused() -> None:
    line = EXAMPLE.count("\n") + 1
    told = complaint(EXAMPLE + "budgets: []\n", header="")
    assert told == f"org.yaml:{line}: budgets: this version does not know budgets yet"
    assert "does not know budgets yet" in complaint("agents: [{name: a, owner: a@b.co, budgets: []}]")
    assert "connectors of kind stdio yet" in complaint("connectors: [{name: c, kind: stdio, command: [server]}]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bundls: []", "org.yaml:2: bundls: unknown key 'bundls'; did you mean 'bundles'?"),
        (
            "bundles:\n  - name: a\n    tols: []",
            "org.yaml:4: bundles[0].tols: unknown key 'tols'; did you mean 'tools'?",
        ),
        ("teams: [{name: Support}]", "teams[0].name: 'Support' will not do"),
        ("teams: [{title: x}]", "teams[0]: name is missing"),
        ("teams: x", "teams: a list is expected here, not 'x'"),
        ("teams: [{name: a, title: 5}]", "text is expected here, not 5 (put it in quotes)"),
        ("teams: [{name: a}, {name: a}]", "teams[1].name: team a stands here twice (first at org.yaml:2)"),
        ("people: [{email: A@b.co}, {email: a@B.co}]", "person a@b.co stands here twice"),
        ("people: [{email: ana}]", "'ana' is no e-mail address"),
        ("people: [{email: a@b.co, duties: [approve]}]", "did you mean 'approver'?"),
        ("people: [{email: a@b.co, staff: yes}]", "true or false is expected here, not 'yes'"),
        ("people: [{email: a@b.co, manager: A@B.co}]", "people[0].manager: nobody is her own manager"),
        ("organization: {name: X, timezone: Europe/Berlni}", "did you mean 'Europe/Berlin'?"),
        ("connectors: [{name: c}]", "urls or url is missing"),
        ("connectors: [{name: c, urls: []}]", "the list must not be empty"),
        ("connectors: [{name: c, url: http://a/, urls: [http://b/]}]", "write either urls or url"),
        ("connectors: [{name: c, url: ftp://a/}]", "this is no http or https URL"),
        ("connectors: [{name: c, url: 'http://a:99999/'}]", "this is no http or https URL"),
        ("connectors: [{name: c, url: http://a/, kind: mpc}]", "'mpc' is not one of fake, mcp; did you mean 'mcp'?"),
        ("connectors: [{name: c, url: http://a/, timeout_seconds: 0}]", "0 is not between 0.1 and 600"),
        ("connectors: [{name: c, url: http://a/, timeout_seconds: true}]", "a number is expected here, not true"),
        ("secrets: [{name: s, kind: header}]", "secrets[0].header: name the header"),
        ("secrets: [{name: s, kind: header, header: Host}]", "no header a secret may travel in"),
        ("secrets: [{name: s, value: hunter2}]", "unknown key 'value'"),
        ("secrets: [{name: s, value_from: {env: A, file: b}}]", "write either env or file"),
        ("secrets: [{name: s, value_from: {}}]", "write either env or file"),
        ("bundles: [{name: b, tools: [{connector: c}, {connector: c, deny: [x]}]}]", "connector c stands here twice"),
        ("roles: [{name: r, starts_at: 2026-01-31T08:00:00}]", "the time needs its offset"),
        ("roles: [{name: r, starts_at: soon}]", "'soon' is no time"),
        ("roles: [{name: r, starts_at: 2026-02-01T00:00Z, ends_at: 2026-01-01T00:00Z}]", "end before it starts"),
        ("roles: [{name: r, schedule: {days: [monday], from: '08:00', to: '19:00'}}]", "did you mean 'mon'?"),
        ("roles: [{name: r, schedule: {from: '8:00', to: '19:00'}}]", "write the time as HH:MM"),
        ("roles: [{name: r, schedule: {from: '08:00'}}]", "to is missing"),
        ("policies: [{name: p, rules: [{effect: deny, when: 'args.x >'}]}]", "rules[0].when: Line 1, column"),
        ("policies: [{name: p, rules: [{effect: deny, when: 'agnet.name == \"x\"'}]}]", "agnet"),
        ("policies: [{name: p, rules: [{effect: deny, tools: []}]}]", "the list must not be empty"),
        ("policies: [{name: p, rules: [{effect: deny, findings: [secrets]}]}]", "did you mean 'secret'?"),
        ("policies: [{name: p, rules: [{effect: deny, approvers: {team: t}}]}]", "only a rule that asks"),
        ("agents: [{name: a}]", "owner is missing"),
        ("policies: [{name: p, rules: [{effect: ask, approvers: {team: t, cuont: 2}}]}]", "approvers.cuont: There is"),
        ("policies: [{name: p, rules: [{effect: ask, approvers: {team: t, count: 9}}]}]", "approvers.count: Write a"),
        ("policies: [{name: p, rules: [{effect: ask, approvers: {escalate: {after: 5m}}}]}]", "approvers.escalate: "),
        ("policies: [{name: p, rules: [{effect: deny, access: reading}]}]", "did you mean 'read'?"),
        ("policies: [{name: p, rules: [{effect: deny, risks: [hihg]}]}]", "did you mean 'high'?"),
        ("policies: [{name: p, tests: [{tool: t}]}]", "policies[0].tests[0]: expect is missing"),
        ("policies: [{name: p, tests: [{tool: t, expect: permitted}]}]", "did you mean 'permit'?"),
        ("policies: [{name: p, tests: [{tool: t, expect: deny, args: 5}]}]", "a mapping is expected here, not 5"),
        ("roles: [{name: r, scopes: [{when: args.x <}]}]", "roles[0].scopes[0].when: Line 1"),
        ("roles: [{name: r, scopes: [{tools: [a]}]}]", "when is missing"),
        ("organization: {name: X, holidays: [{date: 2026-13-01}]}", "'2026-13-01' is no date"),
        ("organization: {name: X, networks: {office: [192.0.2.1/24]}}", "is no network"),
        ("organization: {name: X, networks: {office: []}}", "the list must not be empty"),
        ("organization: {name: X, business_hours: {days: [], from: '08:00', to: '09:00'}}", "must not be empty"),
        ("teams: [{name: t, on_call: [{person: a@b.co, starts_at: 2026-02-01T00:00Z}]}]", "ends_at is missing"),
        ("people: [{email: a@b.co, same_as: A@b.co}]", "people[0].same_as: name her main account"),
        ("connectors: [{name: c, url: http://a/, tools: [{name: t}, {name: t, risk: low}]}]", "tool t stands here"),
        ("reactions: [{name: r, trigger: drift, action: freeze_agent}]", "only quarantine_tool is possible"),
        ("reactions: [{name: r, trigger: finding, action: hold_run}]", "reactions[0].findings: name findings"),
        ("notifications: [{name: n, kind: webhook, secret: s}]", "notifications[0].url: a webhook needs its address"),
        (
            "notifications: [{name: n, kind: slack, target: C1, secret: s, url: https://a.example/}]",
            "only to slack.com",
        ),
        ("notifications: [{name: n, kind: slack, target: C1}]", "notifications[0].secret: name the secret"),
    ],
)
def test_a_fault_names_file_line_and_field(text: str, message: str) -> None:
    told = complaint(text)
    assert message in told
    assert told.startswith("org.yaml:")


def test_all_faults_are_told_at_once() -> None:
    told = complaint("teams:\n  - {name: A}\n  - {name: b, titel: x}\npeople: [{email: x}]")
    assert [line.split(": ")[0] for line in told.splitlines()] == ["org.yaml:3", "org.yaml:4", "org.yaml:5"]


def test_a_password_in_a_url_is_not_repeated() -> None:
    told = complaint("connectors: [{name: c, url: 'https://me:hunter2@example.com/mcp'}]")
    assert "a secret goes into the vault" in told
    assert "hunter2" not in told


def test_the_version_line_is_required() -> None:
    assert "starts with apiVersion" in complaint("teams: []", header="")
    assert "starts with apiVersion" in complaint("", header="apiVersion: gatehouse/v2\n")


def test_several_files_count_as_one() -> None:
    first = Source("a.yaml", b"apiVersion: gatehouse/v1\nteams: [{name: a}]\n")
    second = Source("b.json", b'{"apiVersion": "gatehouse/v1", "teams": [{"name": "b"}], "roles": []}')
    merged = parse([first, second], kinds=KINDS)
    assert [entry.key for entry in merged.sections["teams"]] == ["a", "b"]
    with pytest.raises(BadManifest, match=r"b.yaml:2: teams\[0\].name: .*first at a.yaml:2"):
        parse([first, Source("b.yaml", first.content)], kinds=KINDS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind: stdio", "connectors[0].command: command is missing"),
        ("kind: stdio, command: [server], url: http://a/", "connectors[0].urls: a local server (kind stdio) has"),
        ("url: http://a/, command: [server]", "connectors[0].command: only a local server"),
        ("url: http://a/, environment: {A: b}", "connectors[0].environment: only a local server"),
        ("kind: stdio, command: [server], environment: {A B: c}", "'A B' will not do: name an environment variable"),
        ("kind: stdio, command: [server], environment: {A: 7}", "text is expected here, not 7 (put it in quotes)"),
        ("url: http://a/, relays: [elicitations]", "did you mean 'elicitation'?"),
        ("url: http://a/, max_running: 0", "0 is not between 1 and"),
    ],
)
def test_a_connector_has_an_address_or_a_program(text: str, problem: str) -> None:
    with pytest.raises(BadManifest) as caught:
        parse([Source("org.yaml", f"{HEADER}connectors: [{{name: c, {text}}}]".encode())], kinds=(*KINDS, "stdio"))
    assert problem in str(caught.value)


def test_a_limit_limits_something() -> None:
    assert "write how many requests" in complaint("limits: [{name: l, per: team}]")


def test_a_limit_names_labels_as_runs_have_them() -> None:
    text = f"{HEADER}limits: [{{name: l, requests: 1, labels: [untrusted, flagged, untrusted]}}]"
    (read,) = parse([Source("org.yaml", text.encode())], kinds=KINDS).sections["limits"]
    assert isinstance(read, LimitEntry)
    assert read.labels == ("flagged", "untrusted")
    assert "use a-z, 0-9, '-' and '_'" in complaint("limits: [{name: l, requests: 1, labels: [Flagged!]}]")


def test_one_connector_stands_once_in_each_selection() -> None:
    twice = "bundles: [{name: b, resources: [{connector: c}, {connector: c, deny: [x]}], prompts: [{connector: c}]}]"
    assert "bundles[0].resources: connector c stands here twice" in complaint(twice)


def test_an_empty_section_is_listed_and_a_null_one_is_not() -> None:
    assert manifest("teams: []\nroles: null\n").sections == {"teams": ()}


def test_sets_may_be_written_in_any_order() -> None:
    one = manifest("people: [{email: a@b.co, teams: [y, x, y]}]").sections
    assert one == manifest("people: [{email: A@b.co, teams: [x, y]}]").sections


def test_one_url_or_a_list_of_one_is_the_same() -> None:
    one = manifest("connectors: [{name: c, url: http://a/}]").sections
    assert one == manifest("connectors: [{name: c, urls: [http://a/]}]").sections


NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}", fullmatch=True)
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t"), max_size=30)
CLOCKS = st.times().map(lambda clock: clock.strftime("%H:%M"))
RULES = st.builds(
    RuleEntry,
    effect=st.sampled_from(("permit", "deny", "mask", "flag", "restore")),
    tools=st.lists(LINES, min_size=1, max_size=3).map(tuple),
    connectors=st.sets(LINES, max_size=2).map(sorted).map(tuple),
    data_classes=st.sets(NAMES, max_size=2).map(sorted).map(tuple),
    risks=st.sampled_from(((), ("low",), ("low", "high"))),
    access=st.sampled_from(("", "read", "write")),
    fields=st.sampled_from(((), ("*.iban", "lines[0].id"))),
    on=st.sampled_from(("arguments", "result")),
    when=st.sampled_from(("", "args.amount > 100", "!time.businessHours")),
    findings=st.sampled_from(((), ("secret",), ("personal_data", "secret"))),
    on_failure=st.sampled_from(("closed", "open")),
    reversible=st.booleans(),
    keep_last=st.integers(0, 4),
    approvers=st.none(),
    reason=LINES,
)
ASKING = st.builds(
    RuleEntry,
    effect=st.just("ask"),
    tools=st.just(("*",)),
    when=st.just(""),
    on=st.just("arguments"),
    connectors=st.just(()),
    data_classes=st.just(()),
    risks=st.just(()),
    access=st.just(""),
    fields=st.just(()),
    findings=st.just(()),
    approvers=st.sampled_from(
        (
            None,
            {"team": "leads"},
            {"teams": ["a", "b"], "people": ["a@b.co"], "manager": True, "count": 3},
            {"duties": ["security"], "reason": "required", "ticket": "INC[0-9]+", "pending": "2h", "in_chat": True},
            {"on_call": ["a"], "escalate": {"after": "5m", "to": ["b"]}},
        )
    ),
    reason=LINES,
)
WORDS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,10}", fullmatch=True)
MOMENTS = st.datetimes(timezones=st.just(UTC))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | LINES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LINES, inner, max_size=3),
    max_leaves=6,
)
CASES = st.builds(
    CaseEntry,
    name=LINES,
    tool=LINES,
    connector=st.just("") | NAMES,
    args=st.none() | st.dictionaries(LINES, PLAIN, max_size=3),
    agent=st.just("") | NAMES,
    person=st.sampled_from(("", "a@b.co")),
    teams=st.sets(NAMES, max_size=2).map(sorted).map(tuple),
    time=st.none() | MOMENTS,
    network=st.sampled_from(("", "office", "192.0.2.7")),
    labels=st.sets(WORDS, max_size=2).map(sorted).map(tuple),
    findings=st.sampled_from(((), ("injection",))),
    expect=st.sampled_from(("permit", "ask", "deny", "mask", "flag")),
    rule=st.none() | st.integers(1, 100),
)
SCOPES = st.builds(
    ScopeEntry, tools=st.just(("a*",)), when=st.sampled_from(("args.x < 5", "args.p == 'SUP'")), text=LINES
)
SHIFTS = st.tuples(st.sampled_from(("a@b.co", "c@d.co")), MOMENTS, st.timedeltas(timedelta(minutes=1), timedelta(30)))
VARIABLES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,10}", fullmatch=True)
GLOBS = st.lists(LINES, max_size=2).map(tuple)
SELECTED = st.lists(
    st.builds(ToolsEntry, connector=NAMES, allow=GLOBS, deny=GLOBS),
    max_size=2,
    unique_by=lambda entry: entry.connector,
).map(lambda found: tuple(sorted(found, key=lambda entry: entry.connector)))
TOOLS = st.builds(
    ToolEntry,
    name=LINES,
    risk=st.sampled_from(("low", "medium", "high")),
    read_only=st.booleans(),
    data_classes=st.sets(NAMES, max_size=2).map(sorted).map(tuple),
    untrusted=st.booleans(),
    egress=st.booleans(),
    undo=LINES,
)
LISTS_BY_NAME = st.dictionaries(VARIABLES, st.sets(LINES, max_size=3).map(sorted).map(tuple), max_size=2)
ENTRIES: dict[str, st.SearchStrategy[Any]] = {
    "policies": st.builds(
        PolicyEntry,
        name=NAMES,
        title=LINES,
        rules=st.lists(RULES | ASKING, max_size=3).map(tuple),
        tests=st.lists(CASES, max_size=2).map(tuple),
        node=st.none(),
        unchecked=st.just(frozenset()),
    ),
    "roles": st.builds(
        RoleEntry,
        name=NAMES,
        title=LINES,
        bundles=st.sets(NAMES).map(sorted).map(tuple),
        teams=st.just(()),
        people=st.just(()),
        starts_at=st.none() | st.datetimes(timezones=st.just(UTC)),
        ends_at=st.none(),
        schedule=st.none() | st.builds(Schedule, days=st.sampled_from(((), WEEKDAYS[:3])), opens=CLOCKS, closes=CLOCKS),
        scopes=st.lists(SCOPES, max_size=2).map(tuple),
        node=st.none(),
    ),
    "connectors": st.builds(
        ConnectorEntry,
        name=NAMES,
        title=LINES,
        kind=st.just("stdio"),
        urls=st.just(()),
        secret=st.just(""),
        new_tools=st.just("review"),
        timeout_seconds=st.sampled_from((None, 0.5, 60)),
        relays=st.sets(st.sampled_from(("elicitation", "roots", "sampling"))).map(sorted).map(tuple),
        max_running=st.integers(1, 100),
        max_waiting=st.integers(0, 100),
        command=st.lists(LINES, min_size=1, max_size=3).map(tuple),
        environment=st.dictionaries(VARIABLES, LINES, max_size=3).map(lambda found: tuple(sorted(found.items()))),
        secret_variable=st.just("") | VARIABLES,
        per_agent=st.booleans(),
        memory_mb=st.integers(16, 4096),
        owner=st.sampled_from(("", "a@b.co")),
        stage=st.sampled_from(("", "production")),
        tools=st.lists(TOOLS, max_size=3, unique_by=lambda entry: entry.name).map(
            lambda found: tuple(sorted(found, key=lambda entry: entry.name))
        ),
        enabled=st.sampled_from((None, False)),
        node=st.none(),
    ),
    "bundles": st.builds(
        BundleEntry,
        name=NAMES,
        title=LINES,
        inherits=st.just(()),
        tools=SELECTED,
        resources=SELECTED,
        prompts=SELECTED,
        names=st.sampled_from(("", "plain", "prefixed")),
        policies=st.just(()),
        recording=st.just("full"),
        retention=st.just(""),
        node=st.none(),
    ),
    "retention": st.builds(
        RetentionEntry,
        name=NAMES,
        payload_days=st.integers(0, 36_500),
        header_days=st.integers(0, 36_500),
        default=st.booleans(),
        node=st.none(),
    ),
    "data_classes": st.builds(
        DataClassEntry,
        name=NAMES,
        title=LINES,
        patterns=st.sampled_from(((), (r"\bF[0-9]{3,8}\b",))),
        words=st.just(("falcon", "Project Osprey")),
        validator=st.just(""),
        context=st.just(()),
        severity=st.sampled_from(("low", "critical")),
        tests=st.just((ClassCaseEntry(text="the falcon"), ClassCaseEntry(text="a crow", found=False))),
        node=st.none(),
    ),
    "detectors": st.builds(
        DetectorEntry,
        name=NAMES,
        title=LINES,
        kind=st.sampled_from(("presidio", "nightfall")),
        settings=st.none() | st.just({"url": "http://presidio:5002"}),
        secret=st.just("") | NAMES,
        side=st.sampled_from(("both", "result")),
        timeout_ms=st.integers(50, 10_000),
        most_bytes=st.integers(1, 1_000_000),
        severity=st.sampled_from(("low", "critical")),
        least_confidence=st.sampled_from((0, 0.5, 1)),
        send_known_secrets=st.booleans(),
        enabled=st.sampled_from((None, False)),
        node=st.none(),
    ),
    "canaries": st.builds(
        CanaryEntry,
        name=NAMES,
        kind=st.just("email"),
        place=st.just("example.com"),
        planted_in=LINES,
        node=st.none(),
    ),
    "detection_off": st.builds(DetectionOffEntry, rule=LINES, reason=LINES.map(str.strip).filter(bool), node=st.none()),
    "limits": st.builds(
        LimitEntry,
        name=NAMES,
        per=st.sampled_from(("agent", "team", "tool", "everybody")),
        tools=st.lists(LINES, min_size=1, max_size=3).map(tuple),
        labels=st.sets(st.sampled_from(("flagged", "personal_data", "patient-number"))).map(sorted).map(tuple),
        window_seconds=st.integers(1, 86400),
        requests=st.integers(1, 10**6),
        bytes=st.none() | st.integers(1, 2**53),
        running=st.none() | st.integers(1, 100),
        enabled=st.booleans(),
        node=st.none(),
    ),
    "issuers": st.builds(
        IssuerEntry,
        name=NAMES,
        title=LINES,
        kind=st.just("directory"),
        issuer=NAMES.map(lambda name: f"https://{name}.example.com"),
        jwks_url=st.just(""),
        jwks=st.none(),
        algorithms=st.sampled_from((("ES256",), ("EdDSA", "RS256"))),
        audiences=st.sets(NAMES, max_size=2).map(lambda found: tuple(sorted(found))),
        longest_seconds=st.integers(60, 86_400),
        single_use=st.booleans(),
        grants_access=st.booleans(),
        ends_access=st.booleans(),
        directory=st.just("") | NAMES,
        poll_url=st.just("https://idp.example.com/poll"),
        poll_secret=NAMES,
        enabled=st.sampled_from((None, False)),
        node=st.none(),
    ),
    "sinks": st.builds(
        SinkEntry,
        name=NAMES,
        title=LINES,
        kind=st.sampled_from(sorted(Sink.KINDS)),
        url=st.just(""),
        settings=st.none() | st.just({"bucket": "evidence", "lock_days": 3}),
        secret=st.just("") | NAMES,
        format=st.sampled_from(Sink.Format.values),
        redaction=st.sampled_from(Sink.Redaction.values),
        enabled=st.sampled_from((None, False)),
        node=st.none(),
    ),
    "teams": st.builds(
        TeamEntry,
        name=NAMES,
        title=LINES,
        parent=st.just("") | NAMES,
        policies=st.just(()),
        attributes=LISTS_BY_NAME.map(lambda found: tuple(sorted(found.items()))),
        on_call=st.none()
        | st.sets(SHIFTS, max_size=3).map(
            lambda found: tuple(
                ShiftEntry(person=person, starts_at=start, ends_at=start + length)
                for person, start, length in sorted(found)
                if start.year < 9000
            )
        ),
        node=st.none(),
    ),
    "people": st.builds(
        PersonEntry,
        email=st.sampled_from(("a@b.co", "c@d.co")),
        name=LINES,
        teams=st.just(()),
        manager=st.just(""),
        same_as=st.sampled_from(("", "e@f.co")),
        staff=st.booleans(),
        duties=st.just(()),
        active=st.sampled_from((None, False)),
        is_owner=st.just(False),
        node=st.none(),
    ),
    "reactions": st.builds(
        ReactionEntry,
        name=NAMES,
        title=LINES,
        trigger=st.just("finding"),
        count=st.integers(1, 100),
        minutes=st.integers(1, 1440),
        findings=st.just(("secret",)),
        action=st.just("hold_run"),
        lasting_minutes=st.integers(1, 1440),
        approvers=st.sampled_from((None, {"team": "leads"})),
        enabled=st.booleans(),
        node=st.none(),
    ),
    "notifications": st.builds(
        NotificationEntry,
        name=NAMES,
        title=LINES,
        kind=st.just("slack"),
        url=st.sampled_from(("", "https://slack.com/api")),
        target=LINES.filter(bool),
        secret=NAMES,
        signing_secret=NAMES,
        teams=st.sets(NAMES, max_size=2).map(sorted).map(tuple),
        allows_decisions=st.booleans(),
        enabled=st.booleans(),
        node=st.none(),
    ),
}
ORGANIZATIONS = st.builds(
    OrganizationEntry,
    name=st.sampled_from(("Example Corp", "08:00", "Ä\n", "no")),
    timezone=st.just("Europe/Berlin"),
    business_hours=st.sampled_from((None, BusinessHours(days=("mon", "sun"), opens="08:00", closes="02:00"))),
    holidays=st.sets(st.dates(), max_size=3).map(
        lambda days: tuple(Holiday(date=day.isoformat(), name="x") for day in sorted(days))
    ),
    networks=st.sampled_from(((), (("office", ("192.0.2.0/24", "2001:db8::/32")),))),
    review=st.sampled_from(("required", "optional")),
    agents_may_ask=st.booleans(),
    rotation=st.sampled_from((None, Rotation(), Rotation(after_days=30, overdue="ended", unused_after_days=365))),
    client_hosts=st.sampled_from(((), ("claude.ai", "vscode.dev"))),
    clients_may_register=st.booleans(),
    policies=st.just(()),
    node=st.none(),
)


@property_settings(deadline=None, max_examples=60)
@given(
    st.fixed_dictionaries({kind: st.lists(one, max_size=3, unique_by=Entry.key.fget) for kind, one in ENTRIES.items()})
)  # type: ignore[arg-type]
def test_what_is_written_down_is_read_back(entries: dict[str, list[Entry]]) -> None:
    original = Manifest({kind: tuple(found) for kind, found in entries.items()})
    for text in (to_yaml(original), json.dumps(dump(original)), json.dumps(dump(original), ensure_ascii=False)):
        assert parse([Source("export", text.encode())], kinds=(*KINDS, "stdio")).sections == {
            kind: original.sections[kind] for kind in SECTIONS if kind in original.sections
        }


@given(ORGANIZATIONS)
def test_what_is_written_of_the_organisation_is_read_back(entry: OrganizationEntry) -> None:
    original = Manifest({"organization": (entry,)})
    for text in (to_yaml(original), json.dumps(dump(original))):
        assert parse([Source("export", text.encode())], kinds=KINDS).sections == original.sections


def test_the_published_json_schema_is_in_step() -> None:
    published = Path(settings.BASE_DIR, "docs/manifest.schema.json")
    assert json.loads(published.read_text()) == json_schema(kinds=CONNECTOR_KINDS)


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("", True),
        ("connectors: [{name: c, urls: [http://a/, http://b/]}]\nroles: [{name: r, schedule: null}]", True),
        ("connectors: [{name: c}]", False),
        ("bundles: [{name: b, resources: [{connector: c, allow: ['file:///*']}], prompts: []}]", True),
        ("limits: [{name: l, per: everybody, running: 2}]", True),
        ("limits: [{name: l, per: nobody, running: 2}]", False),
        ("connectors: [{name: c, url: http://a/, kind: sql}]", False),
        ("budgets: []", False),
        ("sinks: [{name: s, kind: webhook, url: http://a/}]", True),
        ("sinks: [{name: s, kind: pigeon}]", False),
        ("teams: [{name: A}]", False),
    ],
)
def test_the_json_schema_judges_as_the_code_does(text: str, is_valid: bool) -> None:
    schema = json_schema(kinds=CONNECTOR_KINDS)
    plain = {"apiVersion": "gatehouse/v1", **_loaded(text)}
    assert jsonschema.Draft202012Validator(schema).is_valid(plain) is is_valid


def test_the_json_schema_takes_the_example() -> None:
    example = dump(parse([Source("org.yaml", EXAMPLE.encode())], kinds=KINDS))
    jsonschema.Draft202012Validator.check_schema(json_schema(kinds=CONNECTOR_KINDS))
    jsonschema.Draft202012Validator(json_schema(kinds=CONNECTOR_KINDS)).validate(example)


def _loaded(text: str) -> dict[str, Any]:
    return yaml.safe_load(text) or {}


def test_organization_is_one_mapping() -> None:
    (entry,) = manifest("organization: {name: Example Corp}").sections["organization"]
    assert entry == OrganizationEntry(name="Example Corp")


def test_the_examples_of_the_documentation_can_be_read() -> None:
    text = (settings.BASE_DIR / "docs" / "rules.md").read_text()
    examples = [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]
    assert len(examples) >= 3
    for example in examples:
        parse([Source("rules.md", f"apiVersion: gatehouse/v1\n{example}".encode())], kinds=CONNECTOR_KINDS)
