"""Asks upstreams which tools they offer. No database in here, so no transaction can be open meanwhile."""

import asyncio
import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from connectors.base import Connector, Discovery, UpstreamAuth, UpstreamFailure, UpstreamSpec
from connectors.egress import Egress
from connectors.kinds import KINDS
from governance.inspection.masking import VaultIndex
from governance.models import Connector as ConnectorRow
from governance.models import Secret
from governance.registry import Catalogue, catalogue
from governance.vault import VaultError, maskable_forms

LONGEST_REQUEST_SECONDS = 15.0
LONGEST_DISCOVERY_SECONDS = 60.0
AT_ONCE = 8
WAY_OUT = {
    "address_refused": " If it is meant, name its network in UPSTREAM_ALLOWED_NETWORKS, here and for the gateway.",
    "upstream_auth": " Check the connector's secret.",
}

BASIC = "Basic "

OpenAuth = Callable[[], UpstreamAuth]


@dataclass(frozen=True, slots=True)
class Question:
    """One upstream to ask; `open_auth` opens its secret, for the request only, and may raise VaultError."""

    spec: UpstreamSpec
    open_auth: OpenAuth = field(repr=False, default=UpstreamAuth)


def spec_of(connector: ConnectorRow) -> UpstreamSpec:
    return UpstreamSpec(
        connector_id=str(connector.pk),
        name=connector.name,
        kind=connector.kind,
        urls=tuple(connector.urls),
        timeout_seconds=min(connector.timeout_seconds, LONGEST_REQUEST_SECONDS),
    )


def discover(questions: Iterable[Question]) -> dict[str, Catalogue]:
    """Connector name -> its tools, or the error why it has none. For synchronous callers."""
    asked = list(questions)
    return asyncio.run(_discover(asked)) if asked else {}


async def _discover(questions: Iterable[Question]) -> dict[str, Catalogue]:
    egress = Egress(allowed_networks=settings.UPSTREAM_ALLOWED_NETWORKS)
    kinds = {name: kind(egress) for name, kind in KINDS.items()}
    try:
        return await ask_all(questions, kinds)
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
    spec = question.spec
    try:
        async with asyncio.timeout(LONGEST_DISCOVERY_SECONDS):
            auth = question.open_auth()
            found: Discovery = await kinds[spec.kind].discover(spec, auth)
    except KeyError:
        return Catalogue(error=f"This version does not know connectors of kind {spec.kind}.")
    except UpstreamFailure as failure:
        return Catalogue(error=f"{failure.code}: {failure.message}{WAY_OUT.get(failure.code, '')}")
    except VaultError as error:
        return Catalogue(error=f"vault: {error}")
    except TimeoutError:
        return Catalogue(error="timeout: The upstream took too long to list its tools.")
    return _without_echoes(catalogue(found.tools, protocol_version=found.protocol_version), auth)


def _without_echoes(found: Catalogue, auth: UpstreamAuth) -> Catalogue:
    """Leaves out definitions that repeat our secret: every reviewer and every agent would read it there."""
    vault = VaultIndex([("secret", _spellings(auth))])
    echoing = {tool.name for tool in found.tools if vault.find(tool.body)}
    return replace(
        found,
        tools=tuple(tool for tool in found.tools if tool.name not in echoing),
        unusable=tuple(vault.mask(name)[0] for name in (*found.unusable, *sorted(echoing))),
    )


@sensitive_variables()
def _spellings(auth: UpstreamAuth) -> list[bytes]:
    """Of what the headers present, behind the name of a scheme; of a user and a password also the password."""
    presented = [value.rpartition(" ")[2] for _, value in auth.headers]
    pairs = [_unpacked(value[len(BASIC) :]) for _, value in auth.headers if value.startswith(BASIC)]
    return [
        form
        for kind, values in ((Secret.Kind.BEARER, presented), (Secret.Kind.BASIC, pairs))
        for value in values
        for form in maskable_forms(kind, value)
    ]


def _unpacked(word: str) -> str:
    return base64.b64decode(word).decode(errors="replace")
