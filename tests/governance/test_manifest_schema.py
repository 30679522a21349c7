"""What a manifest may say, and how it is told what it may not."""

import json
from datetime import UTC
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
from governance.manifest.reader import BadManifest
from governance.manifest.schema import (
    SECTIONS,
    Approvers,
    BundleEntry,
    ConnectorEntry,
    Entry,
    LimitEntry,
    Manifest,
    OrganizationEntry,
    PolicyEntry,
    RoleEntry,
    RuleEntry,
    Schedule,
    Source,
    ToolsEntry,
    dump,
    json_schema,
    parse,
)
from governance.manifest.text import to_yaml
from governance.time_of_day import WEEKDAYS
from tests.governance.manifests import EXAMPLE, HEADER, KINDS, SINKS, manifest


def complaint(text: str, *, header: str = HEADER) -> str:
    with pytest.raises(BadManifest) as caught:
        parse([Source("org.yaml", (header + text).encode())], kinds=KINDS)
    return str(caught.value)


def test_the_documented_example() -> None:
    parsed = parse([Source("org.yaml", EXAMPLE.encode())], kinds=KINDS)
    assert list(parsed.sections) == list(SECTIONS)
    role = parsed.by_key("roles")["support-agent"]
    assert role.schedule == Schedule(days=("mon", "tue", "wed", "thu", "fri"), opens="08:00", closes="19:00")
    rule = parsed.by_key("policies")["refunds-need-a-human"].rules[0]
    assert (rule.effect, rule.when, rule.approvers) == (
        "ask",
        "args.amount > 100",
        Approvers(team="support-leads", count=1),
    )


def test_what_this_version_does_not_know_yet_is_refused() -> None:
    line = EXAMPLE.count("\n") + 1
    assert complaint(EXAMPLE + SINKS, header="") == f"org.yaml:{line}: sinks: this version does not know sinks yet"
    assert "does not know data_scopes yet" in complaint("roles: [{name: r, data_scopes: []}]")
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
    effect=st.sampled_from(("permit", "deny", "mask", "flag")),
    tools=st.lists(LINES, min_size=1, max_size=3).map(tuple),
    on=st.sampled_from(("arguments", "result")),
    when=st.sampled_from(("", "args.amount > 100", "!time.businessHours")),
    findings=st.sampled_from(((), ("secret",), ("personal_data", "secret"))),
    approvers=st.none(),
    reason=LINES,
)
VARIABLES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,10}", fullmatch=True)
GLOBS = st.lists(LINES, max_size=2).map(tuple)
SELECTED = st.lists(
    st.builds(ToolsEntry, connector=NAMES, allow=GLOBS, deny=GLOBS),
    max_size=2,
    unique_by=lambda entry: entry.connector,
).map(lambda found: tuple(sorted(found, key=lambda entry: entry.connector)))
ENTRIES: dict[str, st.SearchStrategy[Any]] = {
    "policies": st.builds(
        PolicyEntry,
        name=NAMES,
        title=LINES,
        rules=st.lists(RULES, max_size=3).map(tuple),
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
        node=st.none(),
    ),
    "limits": st.builds(
        LimitEntry,
        name=NAMES,
        per=st.sampled_from(("agent", "team", "tool", "everybody")),
        tools=st.lists(LINES, min_size=1, max_size=3).map(tuple),
        window_seconds=st.integers(1, 86400),
        requests=st.integers(1, 10**6),
        bytes=st.none() | st.integers(1, 2**53),
        running=st.none() | st.integers(1, 100),
        enabled=st.booleans(),
        node=st.none(),
    ),
}


@property_settings(deadline=None)
@given(
    st.fixed_dictionaries({kind: st.lists(one, max_size=3, unique_by=Entry.key.fget) for kind, one in ENTRIES.items()})
)  # type: ignore[arg-type]
def test_what_is_written_down_is_read_back(entries: dict[str, list[Entry]]) -> None:
    original = Manifest({kind: tuple(found) for kind, found in entries.items()})
    for text in (to_yaml(original), json.dumps(dump(original)), json.dumps(dump(original), ensure_ascii=False)):
        assert parse([Source("export", text.encode())], kinds=(*KINDS, "stdio")).sections == {
            kind: original.sections[kind] for kind in SECTIONS if kind in original.sections
        }


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
        ("sinks: []", False),
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
