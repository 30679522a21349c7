"""Asks upstreams what they offer. No database in here, so no transaction can be open meanwhile."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from connectors.base import Connector, Discovery, UpstreamAuth, UpstreamFailure, UpstreamSpec
from connectors.egress import Egress
from connectors.kinds import KINDS
from gateway.wiring import child_spec
from governance.inspection.masking import VaultIndex
from governance.models import Connector as ConnectorRow
from governance.models import Secret
from governance.registry import Catalogue, catalogue
from governance.snapshot_rows.upstreams import program_of
from governance.vault import VaultError, maskable_forms

LONGEST_REQUEST_SECONDS = 15.0
LONGEST_DISCOVERY_SECONDS = 60.0
LONGEST_DETAIL = 4_000
AT_ONCE = 8
WAY_OUT = {
    "address_refused": " If it is meant, name its network in UPSTREAM_ALLOWED_NETWORKS, here and for the gateway.",
    "program_refused": " If it is meant, name it in STDIO_ALLOWED_COMMANDS, here and for the gateway.",
    "upstream_auth": " Check the connector's secret.",
}

BASIC = "Basic "

OpenAuth = Callable[[], UpstreamAuth]
T = TypeVar("T")


class Unanswered(Exception):
    """Why there is no answer, as `trial_checks.failed` reads it."""


@dataclass(frozen=True, slots=True)
class Question:
    """One upstream to ask; `open_auth` opens its secret, for the request only, and may raise VaultError."""

    spec: UpstreamSpec
    open_auth: OpenAuth = field(repr=False, default=UpstreamAuth)


def spec_of(connector: ConnectorRow) -> UpstreamSpec:
    program = program_of(connector)
    return UpstreamSpec(
        connector_id=str(connector.pk),
        name=connector.name,
        kind=connector.kind,
        urls=tuple(connector.urls),
        timeout_seconds=min(connector.timeout_seconds, LONGEST_REQUEST_SECONDS),
        relays=frozenset(connector.relays),
        child=child_spec(program) if program else None,
    )


def discover(questions: Iterable[Question]) -> dict[str, Catalogue]:
    """Connector name -> its tools, or the error why it has none. For synchronous callers."""
    asked = list(questions)
    return asyncio.run(_discover(asked)) if asked else {}


async def _discover(questions: Iterable[Question]) -> dict[str, Catalogue]:
    async with connector_kinds() as kinds:
        return await ask_all(questions, kinds)


@asynccontextmanager
async def connector_kinds() -> AsyncIterator[dict[str, Connector]]:
    """All kinds, while the block lasts."""
    egress = Egress(
        allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS, allowed_programs=settings.STDIO_ALLOWED_COMMANDS
    )
    kinds: dict[str, Connector] = {name: kind(egress) for name, kind in KINDS.items()}
    try:
        yield kinds
    finally:
        for kind in kinds.values():
            await kind.close()


async def ask_all(questions: Iterable[Question], kinds: Mapping[str, Connector]) -> dict[str, Catalogue]:
    """One slow or broken upstream neither holds up nor spoils the others."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(question: Question) -> tuple[str, Catalogue]:
        async with slots:
            return question.spec.name, await _ask(question, kinds)

    return dict(await asyncio.gather(*map(ask, questions)))


async def _ask(question: Question, kinds: Mapping[str, Connector]) -> Catalogue:
    async def tools_of(connector: Connector, auth: UpstreamAuth) -> tuple[Discovery, UpstreamAuth]:
        return await connector.discover(question.spec, auth), auth

    try:
        found, auth = await answer_to(question, kinds, tools_of)
    except Unanswered as reason:
        return Catalogue(error=str(reason))
    inspecting = partial(catalogue, found.tools, protocol_version=found.protocol_version)
    return _without_echoes(await asyncio.to_thread(inspecting), auth)


async def answer_to(
    question: Question, kinds: Mapping[str, Connector], ask: Callable[[Connector, UpstreamAuth], Awaitable[T]]
) -> T:
    """Raises Unanswered."""
    if not (question.spec.urls or question.spec.child):
        raise Unanswered("bad_url: It has no address.")
    try:
        async with asyncio.timeout(LONGEST_DISCOVERY_SECONDS):
            return await ask(kinds[question.spec.kind], question.open_auth())
    except KeyError:
        raise Unanswered(f"This version does not know connectors of kind {question.spec.kind}.") from None
    except UpstreamFailure as failure:
        said = f"\n{failure.detail[-LONGEST_DETAIL:]}" if failure.detail else ""
        raise Unanswered(f"{failure.code}: {failure.message}{WAY_OUT.get(failure.code, '')}{said}") from None
    except VaultError as error:
        raise Unanswered(f"vault: {error}") from None
    except TimeoutError:
        raise Unanswered("timeout: The upstream took too long to list what it offers.") from None


def own_secret(auth: UpstreamAuth) -> VaultIndex:
    """Finds what we present to the upstream where the upstream repeats it."""
    return VaultIndex([("secret", _spellings(auth))])


def _without_echoes(found: Catalogue, auth: UpstreamAuth) -> Catalogue:
    """Leaves out definitions that repeat our secret: every reviewer and every agent would read it there."""
    vault = own_secret(auth)
    echoing = {tool.name for tool in found.tools if vault.find(tool.body)}
    return replace(
        found,
        tools=tuple(tool for tool in found.tools if tool.name not in echoing),
        unusable=tuple(vault.mask(name)[0] for name in (*found.unusable, *sorted(echoing))),
    )


@sensitive_variables()
def _spellings(auth: UpstreamAuth) -> list[bytes]:
    """Of what is presented, in a header behind the name of a scheme; of a user and a password also the password."""
    presented = [value.rpartition(" ")[2] for _, value in auth.headers] + [value for _, value in auth.variables]
    pairs = [_unpacked(value[len(BASIC) :]) for _, value in auth.headers if value.startswith(BASIC)]
    return [
        form
        for kind, values in ((Secret.Kind.BEARER, presented), (Secret.Kind.BASIC, pairs))
        for value in values
        for form in maskable_forms(kind, value)
    ]


def _unpacked(word: str) -> str:
    return base64.b64decode(word).decode(errors="replace")
