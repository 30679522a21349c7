"""Personal tokens: by which a person's own scripts speak to the REST API, within scopes and her duties."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from governance import key_text
from governance.facts import Fact, Recorder
from governance.models import PersonalToken, User

PREFIX = "gate_pt_"
DEFAULT_LIFETIME = timedelta(days=90)
LONGEST_LIFETIME = timedelta(days=365)
LONGEST_NAME = 100
MOST_LIVE = 50
LAST_USE_GRAIN = timedelta(minutes=1)


OPENS_PAYLOADS = "audit.view_payload"
ENDS_SESSIONS = "usersessions.delete_usersession"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token with it may be used for; never more than its person may. `allows` are permissions."""

    description: str
    allows: frozenset[str]
    sees: bool = False
    """Every permission to view, but for opening what was sealed: that is an act, with a reason on record."""


def _scope(description: str, *allows: str) -> Scope:
    return Scope(description, frozenset(f"governance.{act}" for act in allows))


SCOPES = {
    "read": Scope("See what you may see", frozenset({"governance.explain_agent"}), sees=True),
    "people:write": _scope(
        "Add and change people and teams", "add_user", "change_user", "add_team", "change_team", "delete_team"
    ),
    "people:invite": _scope("Make one-time logins", "invite_user"),
    "people:offboard": _scope("Offboard people", "offboard_user"),
    "agents:write": _scope(
        "Add, change, pause and hand over agents, revoke their keys",
        "add_agent", "change_agent", "transfer_agent", "revoke_agentcredential",
    ),
    "agents:retire": _scope("Retire agents for good", "retire_agent"),
    "keys:issue": _scope("Issue agent keys", "issue_agentcredential"),
    "roles:write": _scope("Add, change and remove roles", "add_role", "change_role", "delete_role"),
    "connectors:write": _scope(
        "Add, change and remove connectors, ask them for their tools, classify tools",
        "add_connector", "change_connector", "delete_connector", "discover_connector", "change_tool",
    ),
    "tools:review": _scope(
        "Pin and reject tool definitions, quarantine and release tools", "decide_tooldefinition", "change_tool"
    ),
    "secrets:write": _scope("Add, change and remove secrets", "add_secret", "change_secret", "delete_secret"),
    "secrets:replace": _scope("Replace the value of a secret", "replace_secret"),
    "policies:write": _scope("Add, change and remove policies", "add_policy", "change_policy", "delete_policy"),
    "policies:publish": _scope("Put rules into force, or take them out", "publish_policy"),
    "bundles:write": _scope("Add, change and remove bundles", "add_bundle", "change_bundle", "delete_bundle"),
    "policies:review": _scope("Agree to changes of rules by others", "review_policy"),
    "bundles:publish": _scope("Publish and withdraw bundles", "publish_bundle"),
    "bundles:review": _scope("Agree to changes of bundles by others", "review_bundle"),
    "limits:write": _scope(
        "Add, change and remove rate limits", "add_ratelimit", "change_ratelimit", "delete_ratelimit"
    ),
    "data-classes:write": _scope(
        "Add, change and remove data classes", "add_dataclass", "change_dataclass", "delete_dataclass"
    ),
    "findings:judge": Scope("Say what findings are", frozenset({"audit.judge_findinggroup"})),
    "exceptions:write": _scope(
        "Set and end exceptions of inspection", "add_patternexception", "change_patternexception"
    ),
    "exceptions:approve": _scope("Agree to exceptions of inspection by others", "approve_patternexception"),
    "detection:switch": _scope("Switch detection rules off and on", "change_detectionoff"),
    "canaries:write": _scope("Make and withdraw canaries", "add_canary", "delete_canary"),
    "canaries:show": _scope("See the value of a canary, once", "show_canary"),
    "detectors:write": _scope(
        "Add, change, test and remove detectors of somebody else's",
        "add_externaldetector", "change_externaldetector", "delete_externaldetector",
    ),
    "directories:write": _scope("Add and change directories", "add_directory", "change_directory"),
    "directories:connect": _scope("Make and revoke tokens of directories", "connect_directory"),
    "directories:release": _scope("Decide what a directory's brake keeps waiting", "release_directory"),
    "mappings:write": _scope(
        "Add, change and remove what groups give", "add_groupmapping", "change_groupmapping", "delete_groupmapping"
    ),
    "mappings:approve": _scope("Agree to what groups give, as the second human", "approve_groupmapping"),
    "issuers:write": _scope(
        "Add, change and remove trusted issuers",
        "add_trustedissuer", "change_trustedissuer", "delete_trustedissuer",
    ),
    "oauth-clients:decide": _scope(
        "Add, approve and disable OAuth clients", "add_oauthclient", "approve_oauthclient", "disable_oauthclient"
    ),
    "authorizations:revoke": _scope("End what people let in", "revoke_authorization"),
    "connected-accounts:revoke": _scope("End people's accounts at other systems", "revoke_upstreamgrant"),
    "approvals:decide": _scope("Approve and deny what you may decide", "decide_approvalrequest"),
    "access:ask": _scope("Ask for access, withdraw and renew", "ask_approvalrequest"),
    "grants:revoke": _scope("Revoke grants", "revoke_grant"),
    "grants:review": _scope("Review break-glass", "review_grant"),
    "rotation:write": _scope("Settle what is to be replaced", "change_rotationtask"),
    "rotation:emergency": _scope("End keys and secrets at once, in an emergency", "cut_rotationtask"),
    "freezes:write": _scope("Freeze and lift", "add_freeze", "change_freeze"),
    "people:erase": _scope("Erase people: make unreadable what was recorded of them", "erase_user"),
    "anchors:write": _scope(
        "Add, change and remove anchors, have a checkpoint kept now",
        "add_anchor", "change_anchor", "delete_anchor", "keep_anchor",
    ),
    "holds:write": _scope("Set and lift legal holds", "add_legalhold", "change_legalhold"),
    "retention:write": _scope(
        "Add, change and remove retention classes",
        "add_retentionclass", "change_retentionclass", "delete_retentionclass",
    ),
    "reports:make": Scope("Have compliance reports made", frozenset({"gateway.add_report"})),
    "reviews:write": _scope("Begin access reviews, remind, sign off", "add_accessreview", "change_accessreview"),
    "reviews:attest": _scope("Keep and revoke in access reviews what is yours to attest", "attest_accessreview"),
    "sinks:write": _scope(
        "Add, change, test, replay and remove sinks of evidence", "add_sink", "change_sink", "delete_sink"
    ),
    "organization:write": _scope("Change the organization", "change_organization"),
    "payloads:open": Scope("Open sealed arguments and answers, for a reason on record", frozenset({OPENS_PAYLOADS})),
    "sign-ons:end": _scope("End accounts of identity providers by which people sign in", "end_staffidentity"),
    "sessions:end": Scope("End your own sign-ins", frozenset({ENDS_SESSIONS})),
    "tokens:revoke": _scope("Revoke personal tokens", "change_personaltoken"),
}  # fmt: skip


class NotIssuable(Exception):
    """Such a token cannot be had; `field` is the wish that will not do, the message says what will."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """The only moment at which the token itself exists."""

    row: PersonalToken
    token: str = field(repr=False)


def looks_like_token(text: str) -> bool:
    """Right prefix, length and checksum; says nothing of whether it was ever issued."""
    return key_text.is_well_formed(text, prefix=PREFIX)


def scopes_allow(scopes: Collection[str], permission: str) -> bool:
    """`permission` as Django writes it. A scope that this version does not know allows nothing."""
    known = [SCOPES[scope] for scope in scopes if scope in SCOPES]
    is_view = permission.partition(".")[2].startswith("view_") and permission != OPENS_PAYLOADS
    return any(permission in scope.allows or (is_view and scope.sees) for scope in known)


def useful_scopes(person: User) -> list[str]:
    """Those by which she may do anything; everybody sees herself, ends what is her own, and may be named by a rule."""
    duties = person.is_staff and person.is_active
    own = ("read", "sessions:end", "tokens:revoke", "approvals:decide", "access:ask", "grants:revoke", "reviews:attest")
    return [
        name
        for name, scope in SCOPES.items()
        if name in own or (duties and any(person.has_perm(permission) for permission in scope.allows))
    ]


def issue_token(
    person: User,
    *,
    name: str,
    scopes: Collection[str],
    by: str,
    record: Recorder,
    now: datetime,
    lifetime: timedelta = DEFAULT_LIFETIME,
) -> IssuedToken:
    """Raises NotIssuable."""
    _check(person, name=name, scopes=scopes, lifetime=lifetime, now=now)
    token = key_text.new_text(PREFIX)
    row = PersonalToken.objects.create(
        person=person,
        name=name,
        digest=key_text.digest_of(token),
        hint=key_text.hint_of(token, prefix=PREFIX),
        scopes=sorted(set(scopes)),
        created_by=by,
        expires_at=now + lifetime,
    )
    details = {"token_id": str(row.id), "scopes": row.scopes, "expires_at": row.expires_at}
    record(Fact("token.issued", f"person:{person.email}", details))
    return IssuedToken(row, token)


def _check(person: User, *, name: str, scopes: Collection[str], lifetime: timedelta, now: datetime) -> None:
    if not person.is_active:
        raise NotIssuable("person", f"{person.email} is not active.")
    if not name.strip() or len(name) > LONGEST_NAME:
        raise NotIssuable("name", f"Name the token, in at most {LONGEST_NAME} characters.")
    unknown = sorted(set(scopes) - SCOPES.keys())
    if unknown or not scopes:
        wrong = f"There is no scope '{unknown[0]}'." if unknown else "A token needs a scope."
        raise NotIssuable("scopes", f"{wrong} Choose among {', '.join(SCOPES)}.")
    if not timedelta(0) < lifetime <= LONGEST_LIFETIME:
        raise NotIssuable("expires", f"A token lives at most {LONGEST_LIFETIME.days} days.")
    if live_tokens(now).filter(person=person).count() >= MOST_LIVE:
        raise NotIssuable("person", f"{person.email} has {MOST_LIVE} live tokens already; revoke some first.")


def live_tokens(now: datetime) -> QuerySet[PersonalToken]:
    return PersonalToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


def find_live(token: str, *, now: datetime) -> PersonalToken | None:
    """The live token of an active person; None for everything else, without saying why."""
    if not looks_like_token(token):
        return None
    rows = live_tokens(now).select_related("person")
    return rows.filter(digest=key_text.digest_of(token), person__is_active=True).first()


def hold_live(row: PersonalToken, *, now: datetime) -> bool:
    """In the transaction of an act: whoever ends the token waits for the act, or the act sees that it has ended."""
    held = live_tokens(now).select_for_update(of=("self",)).filter(id=row.id, person__is_active=True)
    return held.first() is not None


def note_use(row: PersonalToken, *, now: datetime) -> None:
    """To the minute: a busy script writes no row per request."""
    if row.last_used_at is None or now - row.last_used_at >= LAST_USE_GRAIN:
        PersonalToken.objects.filter(id=row.id).update(last_used_at=now)


def revoke_token(row: PersonalToken, *, by: str, record: Recorder, now: datetime) -> bool:
    """False if it was revoked before."""
    live = PersonalToken.objects.filter(id=row.id, revoked_at=None)
    if not live.update(revoked_at=now, revoked_by=by):
        return False
    record(Fact("token.revoked", f"person:{row.person.email}", {"token_id": str(row.id)}))
    return True


def revoke_all_tokens(person: User, *, by: str, record: Recorder, now: datetime) -> int:
    live = person.personal_tokens.filter(revoked_at=None)
    token_ids = [str(token_id) for token_id in live.values_list("id", flat=True)]
    if token_ids:
        live.update(revoked_at=now, revoked_by=by)
        record(Fact("tokens.revoked", f"person:{person.email}", {"token_ids": token_ids}))
    return len(token_ids)
