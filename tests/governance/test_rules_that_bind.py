"""Which rules take part, what they oblige to, who has to agree and who has: selectors, masks, consents, labels."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from governance.approval_terms import Terms
from governance.conditions import compile_condition
from governance.decision import AccessRequest, Decision, Effect, Mask, decide
from governance.networks import Networks, parse_networks
from governance.snapshot import NOBODY, Person, Reaction, Rule, Snapshot, Team, Undecidable
from governance.time_of_day import Calendar
from tests import factories as make

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AGENT, TOOL, BUNDLE = "agent-triage-bot", "tool-helpdesk-ticket_get", "bundle-support"
LEADS = Terms(teams=("support-leads",), count=2)
HOLD = Reaction("r", "secrets", "finding", 1, 10, frozenset({"secret"}), "hold_run", 60, LEADS)


def asked(view: Snapshot, arguments: dict[str, Any] | None = None, *, at: datetime = NOON, **fields: Any) -> Decision:
    return decide(AccessRequest(AGENT, "key", TOOL, BUNDLE, arguments or {}, **fields), view, at)


def view(*rules: Rule, said: dict[str, Any] | None = None, stage: str = "", **fields: Any) -> Snapshot:
    """An agent that holds one tool, of which the admin has said this, under these rules."""
    tool = make.tool(of=make.connector(stage=stage), **(said or {}))
    bundle = make.bundle(tools=(tool,), rules=rules)
    return make.snapshot(agents=(make.agent(roles=(make.role(BUNDLE),)),), bundles=(bundle,), **fields)


# Selectors

SAID = {"risk": "high", "read_only": False, "data_classes": ["finance", "people"]}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({}, True),
        ({"connectors": ("help*",)}, True),
        ({"connectors": ("crm", "helpdesk")}, True),
        ({"connectors": ("crm",)}, False),
        ({"data_classes": frozenset({"health", "finance"})}, True),
        ({"data_classes": frozenset({"health"})}, False),
        ({"risks": frozenset({"medium", "high"})}, True),
        ({"risks": frozenset({"low"})}, False),
        ({"access": "write"}, True),
        ({"access": "read"}, False),
        ({"connectors": ("help*",), "risks": frozenset({"low"})}, False),
        ({"tools": ("kb_*",), "risks": frozenset({"high"})}, False),
    ],
)
def test_a_rule_matches_what_all_its_selectors_name(selector: dict[str, Any], matches: bool) -> None:
    rule = make.rule("deny", "true", **selector)
    assert (asked(view(rule, said=SAID)).effect is Effect.DENY) is matches
    agent = make.agent(owner=make.person(teams=("t",)), roles=(make.role(BUNDLE),))
    by_team = replace(view(said=SAID), agents={agent.id: agent}, team_rules={"t": (rule,)})
    assert (asked(by_team).effect is Effect.DENY) is matches


# Effects that change no outcome


def test_a_flag_is_told_and_changes_nothing() -> None:
    decision = asked(view(make.rule("flag", "args.amount > 1")), {"amount": 2})
    assert decision.effect is Effect.PERMIT
    assert [(rule.effect, rule.outcome) for rule in decision.rules] == [("flag", "true")]


@pytest.mark.parametrize(
    ("when", "masks"),
    [
        ("", True),
        ("args.amount > 1", True),
        ("args.amount > 2", False),
        ("args.missing > 2", True),
        ("'x' in session.labels", True),
    ],
)
def test_a_mask_is_owed_where_its_condition_holds_or_cannot_be_told(when: str, masks: bool) -> None:
    decision = asked(view(make.rule("mask", when, fields=("*.iban", "rows.*.ssn"))), {"amount": 2})
    assert decision.effect is Effect.PERMIT
    assert decision.masks == ((Mask("policy v1#1", ("*.iban", "rows.*.ssn")),) if masks else ())


def test_a_mask_that_waits_for_findings_owes_nothing_yet() -> None:
    decision = asked(view(make.rule("mask", reads_content=True)))
    assert (decision.masks, decision.rules) == ((), ())


# Asking and agreeing

ASKING = (
    make.rule("ask", "args.amount > 100", position=1, terms=LEADS, reason="Refunds over 100"),
    make.rule("ask", position=2, terms=Terms()),
)
KEYS = frozenset({"policy v1#1", "policy v1#2"})


def test_the_open_questions_are_told_with_their_terms() -> None:
    decision = asked(view(*ASKING), {"amount": 200})
    assert (decision.effect, decision.code, decision.reason) == (Effect.ASK, "approval_required", "Refunds over 100")
    assert [(ask.rule, ask.terms) for ask in decision.asks] == [("policy v1#1", LEADS), ("policy v1#2", Terms())]
    assert [ask.rule for ask in asked(view(*ASKING), {"amount": 1}).asks] == ["policy v1#2"]


def test_a_question_without_terms_can_be_answered_by_nobody() -> None:
    (ask,) = asked(view(make.rule("ask"))).asks
    assert ask.terms == NOBODY


def test_a_call_runs_when_all_rules_that_ask_are_agreed_to() -> None:
    decision = asked(view(*ASKING), {"amount": 200}, consented=KEYS)
    assert (decision.effect, decision.code, decision.asks) == (Effect.PERMIT, "approved", ())
    half = asked(view(*ASKING), {"amount": 200}, consented=frozenset({"policy v1#1"}))
    assert (half.effect, [ask.rule for ask in half.asks]) == (Effect.ASK, ["policy v1#2"])


def test_consent_does_not_outweigh_a_denial_and_not_another_version() -> None:
    assert asked(view(*ASKING, make.rule("deny", "true")), consented=KEYS).effect is Effect.DENY
    newer = replace(ASKING[1], version=2)
    assert asked(view(newer), consented=KEYS).effect is Effect.ASK


def consent(when: str = "", **fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "agent_id": AGENT,
        "tool_id": TOOL,
        "rules": KEYS,
        "starts_at": NOON,
        "ends_at": NOON + HOUR,
    }
    grant = make.grant(condition=compile_condition(when) if when else None, **(given | fields))
    return {grant.id: grant}


def test_a_grant_answers_the_rules_it_names_while_it_lasts() -> None:
    given = view(*ASKING, grants=consent("args.amount <= 150"))
    decision = asked(given, {"amount": 150})
    assert (decision.effect, decision.code, decision.grants) == (Effect.PERMIT, "approved", ("grant-consent",))
    assert decision.valid_until == NOON + HOUR
    assert asked(given, {"amount": 151}).effect is Effect.ASK
    assert asked(given, {"amount": 150}, at=NOON + HOUR).effect is Effect.ASK
    assert asked(given, {"amount": 150}, at=NOON - HOUR).valid_until == NOON


@pytest.mark.parametrize(
    "fields",
    [
        {"agent_id": "agent-other"},
        {"tool_id": "tool-helpdesk-other"},
        {"rules": frozenset({"policy v2#1", "policy v2#2"})},
        {"definition_digest": "another"},
        {"session": "another"},
        {"condition": Undecidable()},
        {"approvers": ("person-gone",)},
        {"agent_id": "", "person_id": "person-ana@example.com"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_grant_answers_nothing_else(fields: dict[str, Any]) -> None:
    grants = {name: replace(grant, **fields) for name, grant in consent().items()}
    decision = asked(view(*ASKING, grants=grants), {"amount": 200}, session_id="this")
    assert (decision.effect, len(decision.asks), decision.grants) == (Effect.ASK, 2, ())


def test_a_grant_answers_only_part() -> None:
    grants = consent(rules=frozenset({"policy v1#2"}), session="this")
    decision = asked(view(*ASKING, grants=grants), {"amount": 200}, session_id="this")
    assert ([ask.rule for ask in decision.asks], decision.grants) == (["policy v1#1"], ("grant-consent",))


def test_counted_grants_are_used_last_and_not_when_spent_or_needless() -> None:
    counted = consent(id="counted", is_counted=True)
    decision = asked(view(*ASKING, grants=counted))
    assert (decision.grants, decision.counted_grants) == (("counted",), ("counted",))
    assert asked(view(*ASKING, grants=counted), spent=frozenset({"counted"})).effect is Effect.ASK
    assert asked(view(*ASKING, grants=counted), {"amount": 200}, consented=KEYS).counted_grants == ()
    assert asked(view(*ASKING, grants=counted | consent(id="free"))).grants == ("free",)


LEE = make.person("lee@example.com", teams=("leads",))
LEADING = make.rule("ask", terms=Terms(teams=("support-leads",), on_call=("night",)))


def agreed_by_lee(lee: Person = LEE, *, rule: Rule = LEADING, **fields: Any) -> Snapshot:
    teams = {"leads": Team("leads", "support-leads", "", frozenset()), "n": Team("n", "night", "", frozenset())}
    grants = consent(rules=frozenset({rule.key}), approvers=(lee.id,))
    return view(rule, **({"people": (lee,), "teams": teams, "grants": grants} | fields))


def test_an_approver_of_a_grant_and_what_makes_her_one_are_in_the_read_set() -> None:
    decision = asked(agreed_by_lee(shifts={"n": ((LEE.id, NOON, NOON + HOUR),)}))
    assert decision.effect is Effect.PERMIT
    assert decision.read_set >= {f"person:{LEE.id}", "team:leads", "team:n"}


def test_a_grant_ends_with_the_right_of_who_agreed_to_it() -> None:
    assert asked(agreed_by_lee()).effect is Effect.PERMIT
    assert asked(agreed_by_lee(replace(LEE, is_active=False))).effect is Effect.ASK
    assert asked(agreed_by_lee(replace(LEE, team_ids=()))).effect is Effect.ASK, "she left the team"
    other = replace(LEADING, terms=Terms(teams=("security",)))
    assert asked(agreed_by_lee(rule=other)).effect is Effect.ASK, "the rule names others"
    given = agreed_by_lee()
    hers = {AGENT: replace(given.agents[AGENT], owner=LEE)}
    assert asked(replace(given, agents=hers)).effect is Effect.ASK, "the agent is hers now"


def test_a_grant_outlasts_the_shift_in_which_it_was_agreed_to() -> None:
    on_call = replace(LEE, team_ids=())
    given = agreed_by_lee(on_call, shifts={"n": ((LEE.id, NOON - HOUR, NOON + timedelta(minutes=1)),)})
    assert asked(given, at=NOON + HOUR / 2).effect is Effect.PERMIT
    assert asked(agreed_by_lee(on_call, shifts={"n": ((LEE.id, NOON + HOUR, NOON + 2 * HOUR),)})).effect is Effect.ASK


def test_a_grant_that_answers_a_hold_ends_with_the_right_of_who_agreed_to_it() -> None:
    grants = consent(rules=frozenset({HOLD.key}), approvers=(LEE.id,))
    for lee, effect in ((LEE, Effect.PERMIT), (replace(LEE, team_ids=()), Effect.ASK)):
        given = agreed_by_lee(lee, rule=make.rule("permit"), grants=grants, reactions=(HOLD,))
        assert asked(given, labels=frozenset({"held"})).effect is effect


# Labels of the run


def test_rules_read_labels_once_somebody_has_looked() -> None:
    given = view(make.rule("ask", "'finance' in session.labels && 'untrusted' in session.labels", terms=LEADS))
    unseen = asked(given)
    assert (unseen.effect, unseen.reads_labels) == (Effect.ASK, True)
    assert asked(given, labels=frozenset()).effect is Effect.PERMIT
    assert asked(given, labels=frozenset({"finance", "untrusted"})).effect is Effect.ASK


@pytest.mark.parametrize(
    ("when", "reads"),
    [
        ("session.id == 's'", False),
        ("agent.name == 'x'", False),
        ("session.labels.size() > 0", True),
        ("session . labels.size() > 0 && session.id != ''", True),
    ],
)
def test_only_rules_that_could_match_ask_for_the_labels(when: str, reads: bool) -> None:
    assert asked(view(make.rule("flag", when))).reads_labels is reads
    assert not asked(view(make.rule("flag", when, tools=("other",)))).reads_labels


def test_a_run_that_a_reaction_holds_asks() -> None:
    given = view(reactions=(HOLD,))
    assert asked(given).reads_labels
    held = asked(given, labels=frozenset({"held"}))
    assert (held.effect, [(ask.rule, ask.terms) for ask in held.asks]) == (Effect.ASK, [("reaction secrets", LEADS)])
    assert asked(given, labels=frozenset({"finance"})).effect is Effect.PERMIT
    assert asked(given, labels=frozenset({"held"}), consented=frozenset({"reaction secrets"})).code == "approved"
    assert asked(given).effect is Effect.ASK
    freezing = replace(HOLD, action="freeze_agent")
    assert not asked(view(reactions=(freezing,)), labels=frozenset({"held"})).reads_labels


# Context

OFFICE = parse_networks({"office": ["192.0.2.0/24", "2001:db8::/32"], "vpn": ["198.51.100.0/24", "192.0.2.128/25"]})


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("192.0.2.7", ["office"]),
        ("192.0.2.200", ["office", "vpn"]),
        ("::ffff:192.0.2.7", ["office"]),
        ("2001:db8::1", ["office"]),
        ("203.0.113.1", []),
        ("", None),
        ("not an address", None),
    ],
)
def test_where_a_call_comes_from(address: str, names: list[str] | None) -> None:
    assert OFFICE.names_of(address) == names
    assert Networks(None).names_of(address) is None


def test_rules_over_networks_are_strict_where_nobody_knows() -> None:
    given = view(make.rule("deny", "!('office' in network.names)"), networks=OFFICE)
    assert asked(given, source_ip="192.0.2.7").effect is Effect.PERMIT
    assert asked(given, source_ip="203.0.113.1").effect is Effect.DENY
    assert asked(given).effect is Effect.DENY
    unreadable = replace(given, networks=Networks(None))
    assert asked(unreadable, source_ip="192.0.2.7").effect is Effect.DENY


@pytest.mark.parametrize("networks", [{"office": ["192.0.2.1/24"]}, {"office": ["x"]}, {"office": [None]}])
def test_networks_that_cannot_be_read_are_refused(networks: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_networks(networks)


def test_rules_read_what_the_admin_says_of_a_tool() -> None:
    when = "tool.environment == 'production' && tool.untrusted && tool.egress"
    said = {"untrusted": True, "egress": True}
    assert asked(view(make.rule("deny", when), said=said, stage="production")).effect is Effect.DENY
    assert asked(view(make.rule("deny", when), said=said, stage="test")).effect is Effect.PERMIT


def test_rules_read_the_attributes_of_a_persons_teams() -> None:
    owner = make.person(attributes={"repos": ["web", "api"]})
    agent = make.agent(owner=owner, roles=(make.role(BUNDLE),))
    rules = (make.rule("deny", "!(args.repo in person.attributes.repos)"),)
    given = make.snapshot(agents=(agent,), bundles=(make.bundle(rules=rules),))
    assert asked(given, {"repo": "web"}).effect is Effect.PERMIT
    assert asked(given, {"repo": "ops"}).effect is Effect.DENY


TOKYO = ZoneInfo("Asia/Tokyo")
CHRISTMAS = date(2026, 12, 25)
WORK = Calendar(
    TOKYO, ("thu", "fri"), datetime.min.time().replace(8), datetime.min.time().replace(20), frozenset({CHRISTMAS})
)


def at(day: int, hour: int) -> datetime:
    """In December 2026, in Tokyo; the 25th is a Friday."""
    return datetime(2026, 12, day, hour, tzinfo=TOKYO)


@pytest.mark.parametrize(
    ("moment", "open_", "holiday"),
    [(at(24, 8), True, False), (at(24, 20), False, False), (at(23, 9), False, False), (at(25, 9), False, True)],
)
def test_business_hours_and_holidays(moment: datetime, open_: bool, holiday: bool) -> None:
    told = WORK.variables(WORK.local(moment.astimezone(UTC)))
    assert (told["businessHours"], told["holiday"]) == (open_, holiday)
    denying = view(make.rule("deny", "!time.businessHours || time.holiday"), calendar=WORK)
    assert (asked(denying, at=moment).effect is Effect.PERMIT) is open_


def test_what_nobody_knows_of_the_calendar_is_strict() -> None:
    hours = view(make.rule("deny", "!time.businessHours"), calendar=replace(WORK, days=()))
    assert asked(hours, at=at(24, 9)).effect is Effect.DENY
    holidays = view(make.rule("deny", "time.holiday"), calendar=replace(WORK, holidays=None))
    assert asked(holidays, at=at(24, 9)).effect is Effect.DENY


@pytest.mark.parametrize(
    ("schedule", "moment", "ends"),
    [
        ({"from": "08:00", "to": "19:00"}, at(25, 9), at(25, 19)),
        ({"from": "08:00", "to": "19:00", "holidays": False}, at(25, 9), None),
        ({"from": "08:00", "to": "19:00", "holidays": False}, at(24, 9), at(24, 19)),
        ({"from": "22:00", "to": "06:00", "holidays": False}, at(24, 23), at(25, 0)),
        ({"from": "22:00", "to": "06:00", "holidays": False}, at(25, 1), None),
        ({"from": "22:00", "to": "06:00", "holidays": False}, at(26, 1), None),
        ({"from": "22:00", "to": "06:00"}, at(26, 1), at(26, 6)),
    ],
)
def test_a_role_closed_on_holidays(schedule: dict[str, Any], moment: datetime, ends: datetime | None) -> None:
    agent = make.agent(roles=(make.role(BUNDLE, schedule=schedule),))
    decision = asked(make.snapshot(agents=(agent,), bundles=(make.bundle(),), calendar=WORK), at=moment)
    assert (decision.exists, decision.valid_until) == (ends is not None, ends)


def test_a_role_closed_on_holidays_stays_closed_when_nobody_knows_them() -> None:
    schedule = {"from": "08:00", "to": "19:00", "holidays": False}
    agent = make.agent(roles=(make.role(BUNDLE, schedule=schedule),))
    unknown = make.snapshot(agents=(agent,), bundles=(make.bundle(),), calendar=replace(WORK, holidays=None))
    assert not asked(unknown, at=at(24, 9)).exists
