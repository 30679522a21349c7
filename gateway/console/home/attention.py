"""What needs a person now. Each watch looks for one kind of thing and says it in a sentence, to those whose duty it is.

A new kind of thing is one more function and one more line in WATCHES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from allauth.mfa.utils import is_mfa_enabled
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse

from audit.event import first_id_at
from audit.models import Checkpoint, EventRow, Pending
from gateway.console.approvals.waiting import waiting_for
from gateway.console.breaking.account_page import unreviewed_uses
from gateway.console.publishing.pages import version_url
from gateway.console.single_sign_on.ways import ways
from gateway.console.wording import few
from gateway.evidence_health import read_health
from gateway.hostile_text import visible
from gateway.models import GatewayProcess, KeySetCopy
from gateway.reach.current import current_snapshot
from gateway.recovery import DEAD_AFTER
from gateway.sink_progress import progress_of
from gateway.zombies import last_sweep
from governance.access_reviews import MANAGE as MANAGE_REVIEWS
from governance.access_reviews import waiting_for as waiting_for_attestation
from governance.freezes import in_force
from governance.grants import unreviewed
from governance.lifecycle import is_author, review_is_required
from governance.models import (
    AccessReview,
    Agent,
    AgentCredential,
    BundleVersion,
    Connector,
    Freeze,
    OAuthClient,
    Offboarding,
    PolicyVersion,
    SecretVersion,
    Sink,
    ToolDefinition,
    TrustedIssuer,
    User,
)
from governance.models.versions import State
from governance.second_person import SWITCHED_OFF

MOST_COUNTED = 99
NAMES_SHOWN = 3
EXPIRES_SOON = timedelta(days=14)
DUE_SOON = timedelta(days=3)
ENFORCED_WITHIN = timedelta(minutes=2)
FAILED_MATTERS = timedelta(days=30)
RECENT = timedelta(days=7)
SINKS_TOLD = 3
WATCHED_ELSEWHERE = ("sealing", "signing", "sink-")
BRAKED_MATTERS = timedelta(hours=1)
SEALED_WITHIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Need:
    """One line of the list. `tone` is bad when something does not work or cannot be proven, else warn or info."""

    tone: str
    title: str
    sentence: str
    link: str
    act: str


@dataclass(frozen=True, slots=True)
class Watch:
    """`permission` is that of the act that would put it right, so that nobody is shown what she cannot mend."""

    permission: str
    look: Callable[[datetime], Need | None]


@dataclass(frozen=True, slots=True)
class Found:
    """The first few of some rows, and how many there are as far as anybody wants to know."""

    names: tuple[str, ...]
    count: int

    @classmethod
    def among(cls, rows: QuerySet[Any], column: str) -> "Found":
        names = list(rows.values_list(column, flat=True)[: MOST_COUNTED + 1])
        return cls(tuple(visible(str(name)) for name in names[:NAMES_SHOWN]), len(names))

    def __bool__(self) -> bool:
        return self.count > 0

    def of(self, one: str, many: str = "") -> str:
        """`1 key`, `12 keys`, `99+ keys`."""
        shown = f"{MOST_COUNTED}+" if self.count > MOST_COUNTED else str(self.count)
        return f"{shown} {one if self.count == 1 else many or f'{one}s'}"

    @property
    def listed(self) -> str:
        return f"{', '.join(self.names)}{' …' if self.count > len(self.names) else ''}"


def needs_of(person: User, now: datetime) -> list[Need]:
    """What this person can do something about, the worst first."""
    watched = (watch.look(now) for watch in WATCHES if person.has_perm(watch.permission))
    found = (_approvals(person, now), _drafts(person), _to_attest(person, now), *watched)
    return sorted((need for need in found if need), key=lambda need: ("bad", "warn", "info").index(need.tone))


def _reviews(now: datetime) -> Need | None:
    waiting = ToolDefinition.objects.filter(status=ToolDefinition.Status.WAITING)
    found = Found.among(waiting, "tool__name")
    if not found:
        return None
    in_use = ToolDefinition.objects.filter(tool=OuterRef("tool"), status=ToolDefinition.Status.PINNED)
    changed = Found.among(waiting.filter(Exists(in_use)), "tool__name")
    drift = f" {changed.of('of them changes', 'of them change')} a tool that agents use now." if changed else ""
    odd = Found.among(waiting.filter(is_suspicious=True), "tool__name")
    poison = f" {odd.of('says', 'say')} something suspicious: {odd.listed}." if odd else ""
    sentence = f"{found.of('tool definition waits', 'tool definitions wait')} for a decision.{drift}{poison}"
    return Need("bad" if odd else "warn", "Tools to review", sentence, reverse("review_queue"), "Review")


def _approvals(person: User, now: datetime) -> Need | None:
    """Whether she may decide is for each rule to say, not for a duty."""
    rows = waiting_for(person, current_snapshot(), now)
    if not rows:
        return None
    askers = list(dict.fromkeys(visible(row.agent or row.person) for row in rows))
    waiting = Found((), len(rows)).of("question waits", "questions wait")
    sentence = f"{waiting} for your decision, asked by {few(askers)}."
    return Need("warn", "Approvals", sentence, reverse("approvals"), "Open the inbox")


def _drafts(person: User) -> Need | None:
    """Not those that she wrote a part of: somebody else has to agree."""
    models: dict[str, Any] = {"bundle": BundleVersion, "policy": PolicyVersion}
    waiting = [
        version
        for noun, model in models.items()
        if person.has_perm(f"governance.review_{noun}")
        for version in model.objects.filter(state=State.REVIEW).select_related(noun).order_by("submitted_at")
        if not is_author(version, person)
    ]
    if not waiting:
        return None
    found = Found(tuple(visible(str(version)) for version in waiting[:NAMES_SHOWN]), len(waiting))
    sentence = f"{found.of('draft waits', 'drafts wait')} for somebody else to agree: {found.listed}."
    return Need("warn", "Drafts to review", sentence, version_url(waiting[0]), "Review")


def _to_attest(person: User, now: datetime) -> Need | None:
    """Hers by name, or nobody's while she looks after reviews."""
    waiting = waiting_for_attestation(person)
    found = Found.among(waiting, "subject")
    if not found:
        return None
    late = waiting.filter(review__due_at__lt=now).exists()
    sentence = f"{found.of('holding waits', 'holdings wait')} for your word whether it is still needed: {found.listed}."
    tone, title = ("bad", "Access to attest, overdue") if late else ("warn", "Access to attest")
    return Need(tone, title, sentence, reverse("to_attest"), "Attest")


def _overdue_reviews(now: datetime) -> Need | None:
    late = AccessReview.objects.filter(state=AccessReview.State.OPEN, due_at__lt=now).order_by("due_at")
    found = Found.among(late, "title")
    if not found:
        return None
    sentence = f"{found.of('access review is', 'access reviews are')} overdue: {found.listed}. Remind, or sign off."
    return Need("bad", "Access reviews", sentence, reverse("access_reviews"), "Look")


def _review_switched_off(now: datetime) -> Need | None:
    events = EventRow.objects.filter(kind=SWITCHED_OFF, call_id=None, id__gte=first_id_at(now - RECENT))
    last = events.order_by("-id").first()
    if last is None or review_is_required():
        return None
    who = visible(last.actor.removeprefix("person:"))
    sentence = f"Since {last.at:%Y-%m-%d %H:%M} UTC changes of rules need no second person: switched off by {who}."
    link = reverse("admin:governance_organization_changelist")
    return Need("warn", "Review is switched off", sentence, link, "See the organization")


def _unreviewed_glass(now: datetime) -> Need | None:
    found = Found.among(unreviewed().order_by("created_at"), "created_by")
    if not found:
        return None
    sentence = f"{found.of('break-glass', 'break-glasses')} without review, taken by {found.listed}."
    link = f"{reverse('admin:governance_grant_changelist')}?state=unreviewed"
    return Need("bad", "Break-glass to review", sentence, link, "Review")


def _failing_connectors(now: datetime) -> Need | None:
    found = Found.among(Connector.objects.filter(is_enabled=True).exclude(last_error="").order_by("name"), "name")
    if not found:
        return None
    sentence = f"{found.of('connector fails', 'connectors fail')}: {found.listed}. Calls to it will fail, too."
    return Need("bad", "Connectors failing", sentence, reverse("connectors"), "See what is wrong")


def _missing_secrets(now: datetime) -> Need | None:
    live = SecretVersion.objects.filter(secret=OuterRef("secret"), retired_at=None)
    lacking = Connector.objects.filter(~Exists(live), is_enabled=True, secret__isnull=False).order_by("name")
    found = Found.among(lacking, "name")
    if not found:
        return None
    sentence = f"{found.of('connector has', 'connectors have')} a secret without a value: {found.listed}."
    return Need("bad", "Secrets missing", sentence, reverse("admin:governance_secret_changelist"), "Store the value")


def _expiring_keys(now: datetime) -> Need | None:
    keys = AgentCredential.objects.filter(
        revoked_at=None, expires_at__gt=now, expires_at__lte=now + EXPIRES_SOON, agent__status=Agent.Status.LIVE
    )
    found = Found.among(keys.order_by("expires_at"), "agent__name")
    if not found:
        return None
    link = f"{reverse('admin:governance_agentcredential_changelist')}?state=live&o=6"
    sentence = f"{found.of('key ends', 'keys end')} within {EXPIRES_SOON.days} days, the first of {found.names[0]}."
    return Need("warn", "Keys about to expire", sentence, link, "Issue new ones")


def _unanswerable_agents(now: datetime) -> Need | None:
    agents = Agent.objects.filter(owner__is_active=False).exclude(status=Agent.Status.RETIRED).order_by("name")
    found = Found.among(agents, "name")
    if not found:
        return None
    sentence = f"{found.of('agent belongs', 'agents belong')} to somebody who is not active: {found.listed}."
    link = f"{reverse('admin:governance_agent_changelist')}?answers=nobody"
    return Need("warn", "Agents without an owner", sentence, link, "Hand over")


def _freezes(now: datetime) -> Need | None:
    found = Found.among(Freeze.objects.filter(in_force(now)).order_by("-created_at"), "reason")
    if not found:
        return None
    link = reverse("admin:governance_freeze_changelist")
    return Need("info", "Frozen", f"{found.of('freeze is', 'freezes are')} in force.", link, "See which")


def _unfinished_offboardings(now: datetime) -> Need | None:
    """Those that failed while she still works here, are not confirmed everywhere, or should be done by now."""
    failed = Q(state="failed", person__is_active=True, finished_at__gte=now - FAILED_MATTERS)
    late = now - ENFORCED_WITHIN
    overdue = Q(state="scheduled", due_at__lt=late) | Q(state="enforcing", withdrawn_at__lt=late)
    rows = Offboarding.objects.filter(failed | overdue | Q(state="incomplete"))
    found = Found.among(rows.order_by("-created_at"), "person__email")
    if not found:
        return None
    sentence = f"{found.of('offboarding is', 'offboardings are')} not done: {found.listed}."
    return Need("bad", "Offboardings not finished", sentence, reverse("offboardings"), "See what is open")


def _zombies(now: datetime) -> Need | None:
    """What the last weekly sweep found, and what is there still: counting all of it takes too long for a home page."""
    last = last_sweep()
    if last is None or not last.total:
        return None
    sentence = f"The sweep of {last.at:%Y-%m-%d} found {last.total} rights that nobody living stands behind."
    return Need("info", "What should have ended", sentence, reverse("zombies"), "Look, and end them")


def _offboardings_soon(now: datetime) -> Need | None:
    rows = Offboarding.objects.filter(state="scheduled", due_at__gte=now - ENFORCED_WITHIN, due_at__lt=now + DUE_SOON)
    found = Found.among(rows.order_by("due_at"), "person__email")
    if not found:
        return None
    sentence = f"{found.of('person is', 'people are')} to be offboarded within {DUE_SOON.days} days: {found.listed}."
    return Need("info", "Offboardings soon", sentence, reverse("offboardings"), "See the plans")


def _unknown_outcomes(now: datetime) -> Need | None:
    events = EventRow.objects.filter(outcome="unknown", id__gte=first_id_at(now - RECENT))
    found = Found.among(events.order_by("-id"), "tool")
    if not found:
        return None
    link = f"{reverse('admin:audit_eventrow_changelist')}?outcome=unknown&period=week"
    sentence = f"Of {found.of('call')} in the past week nobody knows whether it was carried out. Ask the system."
    return Need("warn", "Calls with unknown outcome", sentence, link, "See the calls")


def _evidence(now: datetime) -> Need | None:
    oldest = Pending.objects.order_by("id").values_list("event_id", flat=True).first()
    if oldest is None or oldest >= first_id_at(now - SEALED_WITHIN):
        return None
    link = reverse("admin:audit_checkpoint_changelist")
    last = Checkpoint.objects.order_by("-size").values_list("at", flat=True).first()
    since = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "so far"
    sentence = f"New evidence is kept, but nothing was put under a signature {since}. Is the sequencer running?"
    return Need("bad", "Evidence is not sealed", sentence, link, "See checkpoints")


def _evidence_elsewhere(now: datetime) -> Need | None:
    """What becomes of sealed evidence: whether it is kept elsewhere, and has room. Others have watches of their own."""
    troubles = [text for name, text in read_health(now).troubles() if not name.startswith(WATCHED_ELSEWHERE)]
    if not troubles:
        return None
    link = reverse("admin:governance_anchor_changelist")
    return Need("bad", "Evidence needs you", " ".join(troubles), link, "See anchors")


def _evidence_outside(now: datetime) -> Need | None:
    sinks = progress_of(Sink.objects.order_by("name"), now=now).values()
    troubles = [text for sink in sinks for _, text in sink.troubles()]
    if not troubles:
        return None
    more = f" And {len(troubles) - SINKS_TOLD} more." if len(troubles) > SINKS_TOLD else ""
    link = reverse("admin:governance_sink_changelist")
    return Need("bad", "Evidence does not arrive", " ".join(troubles[:SINKS_TOLD]) + more, link, "See sinks")


def _lost_gateways(now: datetime) -> Need | None:
    lost = GatewayProcess.objects.filter(ended_at=None, beat_at__lt=now - DEAD_AFTER)
    found = Found.among(lost.order_by("beat_at"), "host")
    if not found:
        return None
    link = reverse("admin:gateway_gatewayprocess_changelist")
    sentence = f"{found.of('gateway process gives', 'gateway processes give')} no sign of life: {found.listed}."
    return Need("bad", "Gateways lost", sentence, link, "See processes")


def _waiting_clients(now: datetime) -> Need | None:
    waiting = OAuthClient.objects.filter(status=OAuthClient.Status.PENDING)
    found = Found.among(waiting.order_by("-created_at"), "client_id")
    if not found:
        return None
    tried = f"{found.of('client that people tried waits', 'clients that people tried wait')}"
    link = f"{reverse('admin:governance_oauthclient_changelist')}?status__exact=pending"
    return Need("info", "Clients wait for approval", f"{tried} for somebody to look: {found.listed}.", link, "Look")


def _silent_issuers(now: datetime) -> Need | None:
    """Whose keys cannot be had: what they sign is refused, or will be."""
    trusted = TrustedIssuer.objects.filter(is_enabled=True).values("issuer")
    failing = KeySetCopy.objects.filter(issuer__in=trusted, tried_at__gte=now - RECENT).exclude(problem="")
    found = Found.among(failing.order_by("issuer"), "issuer")
    if not found:
        return None
    link = reverse("admin:governance_trustedissuer_changelist")
    sentence = f"The keys of {found.of('issuer')} cannot be fetched: {found.listed}."
    return Need("warn", "Issuers out of reach", sentence, link, "See whom we trust")


def _braked_events(now: datetime) -> Need | None:
    braked = EventRow.objects.filter(kind="security_events.braked", id__gte=first_id_at(now - BRAKED_MATTERS))
    if not braked.exists():
        return None
    link = f"{reverse('admin:audit_eventrow_changelist')}?kind=security_events.braked"
    sentence = "An identity provider says of so many people at once that they left, that the rest waits. Is it right?"
    return Need("bad", "Many departures at once", sentence, link, "See since when")


def _glass_account_used(now: datetime) -> Need | None:
    uses = unreviewed_uses(now)
    if not uses:
        return None
    found = Found((), len(uses))
    sentence = (
        f"It signed in at {uses[0].at:%Y-%m-%d %H:%M} UTC. {found.of('sign-in waits', 'sign-ins wait')} for a review."
    )
    return Need("bad", "The break-glass account was used", sentence, reverse("break_glass_account"), "Review")


def _no_glass_account(now: datetime) -> Need | None:
    """Only where single sign-on can fail."""
    account = User.objects.filter(break_glass=True, is_active=True).first()
    if not ways() or (account and is_mfa_enabled(account)):
        return None
    lacks = "has no second factor, so it cannot sign in" if account else "does not exist or is switched off"
    sentence = f"When single sign-on is down, nobody may be able to get in: the break-glass account {lacks}."
    return Need("warn", "No way in without single sign-on", sentence, reverse("break_glass_account"), "See what to do")


WATCHES: tuple[Watch, ...] = (
    Watch("governance.review_grant", _glass_account_used),
    Watch("governance.make_owner", _no_glass_account),
    Watch("audit.view_checkpoint", _evidence),
    Watch("governance.view_anchor", _evidence_elsewhere),
    Watch("governance.view_sink", _evidence_outside),
    Watch("gateway.view_gatewayprocess", _lost_gateways),
    Watch("governance.offboard_user", _unfinished_offboardings),
    Watch("governance.offboard_user", _offboardings_soon),
    Watch("governance.offboard_user", _zombies),
    Watch("governance.discover_connector", _failing_connectors),
    Watch("governance.replace_secret", _missing_secrets),
    Watch("governance.review_grant", _unreviewed_glass),
    Watch("governance.view_organization", _review_switched_off),
    Watch(MANAGE_REVIEWS, _overdue_reviews),
    Watch("governance.decide_tooldefinition", _reviews),
    Watch("governance.issue_agentcredential", _expiring_keys),
    Watch("governance.transfer_agent", _unanswerable_agents),
    Watch("audit.view_eventrow", _unknown_outcomes),
    Watch("governance.change_freeze", _freezes),
    Watch("governance.approve_oauthclient", _waiting_clients),
    Watch("governance.change_trustedissuer", _silent_issuers),
    Watch("governance.offboard_user", _braked_events),
)
