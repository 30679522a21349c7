"""Which prompts and resources an upstream offers, for whoever writes patterns for them: shown, never decided by.

Of tools there are pinned definitions. Of these nothing is stored but what was heard last, for a while and in the
cache: what a pattern takes in is looked up anew for each agent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, TypedDict

import orjson
from django.core.cache import cache

from connectors.base import Connector, UpstreamAuth, UpstreamFailure, UpstreamSpec
from gateway.asked import Asked, still_asked
from gateway.discovery import answer_to, connector_kinds, own_secret
from gateway.targets import PROMPT, RESOURCE
from governance.facts import Fact, Recorder
from governance.inspection.masking import VaultIndex
from governance.snapshot import matcher

KEPT_SECONDS: Final = 7 * 24 * 3600
MOST: Final = 500
"""Of each list; of more only the number is kept."""
LONGEST_NAME: Final = 2_000
LONGEST_TITLE: Final = 200


@dataclass(frozen=True, slots=True)
class List:
    """One list of an upstream: what it holds, in the words of rules and in those of people; what names an item."""

    method: str
    kind: str
    title: str
    key: str


LISTS: Final = (
    List("prompts/list", PROMPT, "Prompts", "name"),
    List("resources/list", RESOURCE, "Resources", "uri"),
    List("resources/templates/list", RESOURCE, "Resource templates", "uriTemplate"),
)


class Offer(TypedDict):
    """`name` is what a pattern matches: a prompt's name, a resource's URI or a template of such. Hostile text."""

    name: str
    title: str


class Listing(TypedDict):
    kind: str
    title: str
    total: int
    offers: list[Offer]
    problem: str
    """Why it cannot be said what there is."""


class Offers(TypedDict):
    asked_at: datetime
    lists: list[Listing]


async def ask_offers(wanted: Asked) -> list[Listing]:
    """Raises Unanswered."""
    async with connector_kinds() as kinds:
        return await answer_to(wanted.question, kinds, partial(_listings, wanted.question.spec))


async def _listings(spec: UpstreamSpec, connector: Connector, auth: UpstreamAuth) -> list[Listing]:
    secret = own_secret(auth)
    return [await _listing(wanted, spec, connector, auth, secret) for wanted in LISTS]


async def _listing(
    wanted: List, spec: UpstreamSpec, connector: Connector, auth: UpstreamAuth, secret: VaultIndex
) -> Listing:
    """Many upstreams declare resources and answer only one of the two lists."""
    try:
        items = (await connector.catalog(spec, auth, wanted.method)).items
    except UpstreamFailure as failure:
        if failure.code != "bad_answer":
            raise
        return Listing(kind=wanted.kind, title=wanted.title, total=0, offers=[], problem=failure.message)
    offers = [_offer(item, wanted.key) for item in items[:MOST] if _is_showable(item, wanted.key, secret)]
    return Listing(kind=wanted.kind, title=wanted.title, total=len(items), offers=offers, problem="")


def _is_showable(item: dict[str, Any], key: str, secret: VaultIndex) -> bool:
    """Not what repeats our secret."""
    return len(item[key]) <= LONGEST_NAME and not secret.find(orjson.dumps(item))


def _offer(item: dict[str, Any], key: str) -> Offer:
    texts = (item.get(member) for member in ("title", "name", "description") if member != key)
    title = next((text for text in texts if isinstance(text, str) and text), "")
    return Offer(name=item[key], title=title[:LONGEST_TITLE])


def keep_offers(wanted: Asked, lists: list[Listing], *, person_id: Any, record: Recorder, now: datetime) -> Offers:
    """Raises Overtaken."""
    connector = still_asked(wanted, person_id=person_id)
    counts = {each["title"]: each["total"] for each in lists}
    record(Fact("connector.offers_asked", f"connector:{connector.name}", counts))
    offers = Offers(asked_at=now, lists=lists)
    cache.set(_place(connector.pk), offers, KEPT_SECONDS)
    return offers


def kept_offers(connector_id: object) -> Offers | None:
    """What was heard last; None where nobody asked lately."""
    offers: Offers | None = cache.get(_place(connector_id))
    return offers


def _place(connector_id: object) -> str:
    return f"offers:{connector_id}"


def matching(offers: Offers, kind: str, globs: Iterable[str]) -> list[str]:
    """Names that any of the patterns takes in, of a template its own text."""
    matchers = [matcher(glob) for glob in globs]
    names = [offer["name"] for each in offers["lists"] if each["kind"] == kind for offer in each["offers"]]
    return [name for name in names if any(matches(name) for matches in matchers)]
