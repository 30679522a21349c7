"""Asks upstreams which tools they offer. No database in here, so no transaction can be open meanwhile."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from django.conf import settings

from connectors.base import Connector, Discovery, UpstreamAuth, UpstreamFailure, UpstreamSpec
from connectors.egress import Egress
from connectors.kinds import KINDS
from governance.registry import Catalogue, catalogue
from governance.vault import VaultError

LONGEST_REQUEST_SECONDS = 15.0
LONGEST_DISCOVERY_SECONDS = 60.0
AT_ONCE = 8
WAY_OUT = {
    "address_refused": " If it is meant, name its network in UPSTREAM_ALLOWED_NETWORKS, here and for the gateway.",
    "upstream_auth": " Check the connector's secret.",
}

OpenAuth = Callable[[], UpstreamAuth]


@dataclass(frozen=True, slots=True)
class Question:
    """One upstream to ask; `open_auth` opens its secret, for the request only, and may raise VaultError."""

    spec: UpstreamSpec
    open_auth: OpenAuth = field(repr=False, default=UpstreamAuth)


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
            found: Discovery = await kinds[spec.kind].discover(spec, question.open_auth())
    except KeyError:
        return Catalogue(error=f"This version does not know connectors of kind {spec.kind}.")
    except UpstreamFailure as failure:
        return Catalogue(error=f"{failure.code}: {failure.message}{WAY_OUT.get(failure.code, '')}")
    except VaultError as error:
        return Catalogue(error=f"vault: {error}")
    except TimeoutError:
        return Catalogue(error="timeout: The upstream took too long to list its tools.")
    return catalogue(found.tools, protocol_version=found.protocol_version)
