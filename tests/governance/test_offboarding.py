"""Ending a person: what is found, what is refused, what is left, and what happens when two want it at once."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from governance import offboarding
from governance.agent_keys import NotIssuable, issue_key
from governance.approval_terms import Terms
from governance.facts import Fact
from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    AgentCredential,
    Change,
    Freeze,
    Offboarding,
    PersonalToken,
    Policy,
    PolicyVersion,
    Role,
    Rule,
    Team,
    User,
)
from governance.offboarding import CannotOffboard, FindingsChanged, Item, Plan, UnderWay
from governance.snapshot_builder import build_snapshot
from tests.governance.asking import Office

pytestmark = [pytest.mark.django_db, pytest.mark.database]

BY = "person:owner@example.com"
NOW = datetime(2031, 1, 31, 18, 0, tzinfo=UTC)


@pytest.fixture
def owner() -> User:
    return User.objects.create_superuser("owner@example.com")


@pytest.fixture
def ana(owner: User) -> User:
    """Owns two agents with keys, is in a team, has a role, a token and a duty."""
    ana = User.objects.create_user("ana@example.com", name="Ana Lima", is_staff=True, duties=["approver"])
    ana.teams.add(Team.objects.create(name="support"))
    ana.roles.add(Role.objects.create(name="people-role"))
    for name in ("night-bot", "triage-bot"):
        give_keys(Agent.objects.create(name=name, owner=ana), 2)
    PersonalToken.objects.create(person=ana, name="cron", digest=b"t" * 32, hint="gate_pt_abcd", created_by=BY)
    return ana


@pytest.fixture
def heir() -> User:
    return User.objects.create_user("heir@example.com")


def give_keys(agent: Agent, count: int) -> None:
    AgentCredential.objects.bulk_create(
        AgentCredential(
            agent=agent,
            digest=hashlib.sha256(f"{agent.name}{number}".encode()).digest(),
            hint=f"gate_ak_{number:04d}",
            created_by=BY,
        )
        for number in range(count)
    )


def begin(person: User, plan: Plan | None = None, **options: object) -> Offboarding:
    with governed_change(by=BY):
        return offboarding.begin(
            person,
            plan=plan or Plan(),
            by=BY,
            record=FACTS.append,
            now=datetime.now(UTC),
            **options,  # type: ignore[arg-type]
        )


def plan_for(person: User, plan: Plan | None = None, due_at: datetime = NOW) -> Offboarding:
    return offboarding.schedule(
        person, plan=plan or Plan(), due_at=due_at, by=BY, record=FACTS.append, now=NOW - timedelta(days=1)
    )


FACTS: list[Fact] = []


@pytest.fixture(autouse=True)
def _no_facts() -> None:
    FACTS.clear()


def found(person: User, plan: Plan | None = None) -> list[Item]:
    return offboarding.preview(person, plan=plan or Plan())


def test_everything_is_found_before_anything_is_done(ana: User) -> None:
    kinds = [item.kind for item in found(ana)]
    assert offboarding.counts(found(ana)) == {
        "person": 1,
        "personal token": 1,
        "agent": 2,
        "agent key": 4,
        "team membership": 1,
        "role": 1,
        "admin rights": 1,
    }
    assert kinds.index("agent key") == kinds.index("agent") + 1, "keys follow their agent"


def test_nothing_of_hers_is_left(ana: User) -> None:
    done = begin(ana)
    ana.refresh_from_db()
    assert (ana.is_active, ana.is_staff, ana.duties, ana.has_usable_password()) == (False, False, [], False)
    assert build_snapshot().credentials == {}
    assert not PersonalToken.objects.filter(revoked_at=None).exists()
    assert not ana.teams.exists()
    assert not ana.roles.exists()
    assert set(Agent.objects.values_list("status", flat=True)) == {"suspended"}
    assert (done.state, len(done.items)) == ("enforcing", 11)
    assert offboarding.still_live(done.items, live_key_ids=[]) == []


def test_each_agent_goes_where_the_plan_says(ana: User, heir: User) -> None:
    begin(ana, Plan(heir.email, {"night-bot": ""}))
    agents = {agent.name: (agent.owner.email, agent.status) for agent in Agent.objects.select_related("owner")}
    assert agents == {"night-bot": (ana.email, "suspended"), "triage-bot": (heir.email, "live")}
    assert build_snapshot().credentials == {}, "she may have kept the keys"


def test_a_retired_agent_stays_where_it_is(ana: User, heir: User) -> None:
    Agent.objects.filter(name="night-bot").update(status=Agent.Status.RETIRED)
    begin(ana, Plan(heir.email))
    night_bot = Agent.objects.get(name="night-bot")
    assert (night_bot.owner, night_bot.status) == (ana, "retired")


@pytest.mark.parametrize("successor", ["nobody@example.com", "ana@example.com", "left@example.com"])
def test_only_another_active_person_succeeds(ana: User, successor: str) -> None:
    User.objects.create_user("left@example.com", is_active=False)
    with pytest.raises(CannotOffboard, match="another, active person"):
        begin(ana, Plan("", {"night-bot": successor}))
    ana.refresh_from_db()
    assert ana.is_active


def test_the_last_owner_stays(owner: User) -> None:
    with pytest.raises(CannotOffboard, match="last owner; make another one first"):
        begin(owner)
    User.objects.create_superuser("second@example.com")
    assert begin(owner).state == "enforcing"


def test_owners_are_ended_by_owners_only(ana: User, owner: User) -> None:
    noor = User.objects.create_user("noor@example.com", is_staff=True, duties=["it-admin"])
    assert offboarding.may_offboard(noor, ana)
    assert not offboarding.may_offboard(noor, owner)
    assert not offboarding.may_offboard(ana, noor), "an approver offboards nobody"
    assert offboarding.may_offboard(owner, owner)


def test_what_nobody_has_seen_is_not_ended(ana: User) -> None:
    seen = offboarding.findings_digest(found(ana))
    Agent.objects.create(name="new-bot", owner=ana)
    with pytest.raises(FindingsChanged):
        begin(ana, expected=seen)
    ana.refresh_from_db()
    assert ana.is_active
    begin(ana, expected=offboarding.findings_digest(found(ana, Plan())))


def test_a_plan_does_not_change_what_was_found(ana: User, heir: User) -> None:
    assert offboarding.findings_digest(found(ana)) == offboarding.findings_digest(found(ana, Plan(heir.email)))


def test_what_is_left_to_do_is_told(ana: User, heir: User) -> None:
    User.objects.create_user("kim@example.com", manager=ana)
    Freeze.objects.create(created_by="person:ana@example.com")
    plan_for(heir, Plan(ana.email))
    version = PolicyVersion.objects.create(policy=Policy.objects.create(name="refunds"), number=1, created_by=BY)
    Rule.objects.create(version=version, position=1, effect="ask", approvers={"team": "support", "count": 1})
    todo = {item.kind: item.todo for item in found(ana) if item.todo}
    assert set(todo) == {"report", "freeze", "successor in an offboarding", "team membership", "agent"}
    assert "nobody is left in it" in todo["team membership"]


def test_a_second_offboarding_waits_for_no_one(ana: User) -> None:
    begin(ana)
    with pytest.raises(UnderWay):
        begin(ana)
    with pytest.raises(UnderWay):
        plan_for(ana)
    assert Offboarding.objects.count() == 1


def test_doing_it_now_takes_over_what_is_planned(ana: User, heir: User) -> None:
    planned = plan_for(ana)
    done = begin(ana, Plan(heir.email))
    assert (done.id, done.plan["otherwise"]) == (planned.id, heir.email)


def test_a_plan_is_cancelled_once_and_then_done_no_more(ana: User) -> None:
    planned = plan_for(ana)
    assert offboarding.cancel(planned, record=FACTS.append, now=NOW)
    assert not offboarding.cancel(planned, record=FACTS.append, now=NOW)
    assert not offboarding.fail(planned, "too late", record=FACTS.append, now=NOW)
    assert [fact.kind for fact in FACTS] == ["offboarding.scheduled", "offboarding.cancelled"]


def test_a_date_in_the_past_is_none(ana: User) -> None:
    with pytest.raises(CannotOffboard, match="That time is over"):
        plan_for(ana, due_at=NOW - timedelta(days=2))


def test_a_successor_who_left_does_not_keep_her_in(ana: User, heir: User) -> None:
    planned = plan_for(ana, Plan(heir.email, {"night-bot": heir.email}))
    begin(heir)
    plan = offboarding.plan_as_of_now(planned)
    assert plan == Plan("", {"night-bot": ""})
    begin(ana, plan)
    assert set(Agent.objects.values_list("status", flat=True)) == {"suspended"}


def test_who_planned_it_must_still_be_allowed_to(ana: User, owner: User) -> None:
    planned = plan_for(ana)
    assert offboarding.scheduler_may(planned)
    User.objects.filter(id=owner.id).update(is_superuser=False)
    assert not offboarding.scheduler_may(planned)
    Offboarding.objects.update(created_by="command:root")
    planned.refresh_from_db()
    assert offboarding.scheduler_may(planned)


def test_evidence_is_bounded_and_binds_all(ana: User, heir: User) -> None:
    agents = Agent.objects.bulk_create([Agent(name=f"bot-{n}", owner=ana) for n in range(300)])
    give_keys(agents[0], 50)
    begin(ana, Plan(agents={agent.name: heir.email for agent in agents}))
    told = FACTS[-1].details
    assert told["counts"]["agent"] == 302
    assert (len(told["items"]), told["items_in_all"], len(told["plan"]["agents"])) == (20, 361, 200)
    changed = Change.objects.filter(relation="governance_agentcredential", operation="update")
    assert changed.count() == 54, "and every key's end is a change of its own"
    assert set(changed.values_list("actor", flat=True)) == {BY}
    kept = Change.objects.filter(relation="governance_offboarding").values_list("after", flat=True)
    assert not any("gate_ak_" in after for after in kept if after), "the long lists stay out of the change log"


def test_many_agents_cost_no_more_statements_than_few(ana: User, heir: User) -> None:
    with CaptureQueriesContext(
        connection,
    ) as few:
        begin(ana, Plan(heir.email))
    many = User.objects.create_user("many@example.com")
    for agent in Agent.objects.bulk_create([Agent(name=f"m-{n}", owner=many) for n in range(40)]):
        give_keys(agent, 5)
    with CaptureQueriesContext(connection) as more:
        begin(many, Plan(heir.email))
    assert len(more) <= len(few) <= 50


def test_a_key_cannot_slip_in_behind_an_offboarding(ana: User) -> None:
    """Somebody who loaded the agent before sees it as it is now."""
    stale = Agent.objects.select_related("owner").get(name="night-bot")
    begin(ana)
    with pytest.raises(NotIssuable):
        issue_key(stale, by=BY, record=FACTS.append, now=datetime.now(UTC), expires_at=None)


# -- questions to her


def test_questions_that_name_her_go_to_whoever_is_next_at_once() -> None:
    office = Office()
    office.now = datetime.now(UTC)
    named = Terms(people=("lee@example.com", "kim@example.com"), escalate_after=300, escalate_to=("support-leads",))
    hers = office.ask(named)
    nobody_next = office.ask(Terms(people=("lee@example.com",)), what="refund 200")
    others = office.ask(replace(named, people=("kim@example.com",)), what="refund 300")
    now = office.now + timedelta(seconds=1)
    items = offboarding.findings(office.lee, plan=Plan())
    assert [item.name for item in items if item.kind == "question to her"] == [
        f"{each.name} of triage-bot" for each in (hers, nobody_next)
    ]
    with governed_change(by=BY):
        offboarding.begin(office.lee, plan=Plan(), by=BY, record=office.facts.append, now=now)
    for request in (hers, nobody_next, others):
        request.refresh_from_db()
    assert (hers.escalated_at, nobody_next.escalated_at, others.escalated_at) == (now, None, None)
    assert {request.state for request in (hers, nobody_next, others)} == {"pending"}
