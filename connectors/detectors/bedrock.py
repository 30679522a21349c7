"""Amazon Bedrock Guardrails: `ApplyGuardrail`, signed by botocore, sent by our own client.

It tells matches by their text, and of topics and harmful content only that they are there.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pkgutil import resolve_name
from typing import Any, Final
from urllib.parse import quote

import orjson

from connectors.detectors.base import DetectorKind, Hit, Wire, bad_answer, items, member, named, within
from connectors.detectors.settings import Setting, check_settings, read

SETTINGS: Final = (
    Setting("region", "Region", text="E.g. eu-central-1.", pattern="[a-z]{2}(?:-[a-z]+)+-[0-9]", must_be="a region"),
    Setting("guardrail", "Guardrail", text="Its id or ARN.",
            pattern="[a-z0-9]+|arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]+",
            must_be="the id or the ARN of a guardrail"),
    Setting("guardrail_version", "Its version", "DRAFT", "A number, or DRAFT.", pattern="DRAFT|[1-9][0-9]{0,7}",
            must_be="a number or DRAFT"),
    Setting("url", "Address", "", "Of an interface endpoint (VPC), if you use one.", shape="url"),
)  # fmt: skip
SURENESS: Final[Mapping[str, float]] = {"NONE": 0.0, "LOW": 0.4, "MEDIUM": 0.7, "HIGH": 0.9}
CERTAIN: Final = 1.0
SIGNER: Final = "connectors.detectors.sigv4:signer"
"""Loaded with the first guardrail: it brings botocore along."""


class Bedrock:
    model = ""

    def __init__(self, settings: Mapping[str, Any], secret: str) -> None:
        told = read(SETTINGS, settings)
        key_id, _, key = secret.partition(":")
        self._sign = resolve_name(SIGNER)(key_id, key, service="bedrock", region=told["region"])
        host = told["url"].rstrip("/") or f"https://bedrock-runtime.{told['region']}.amazonaws.com"
        name = quote(told["guardrail"], safe="")
        self._url = f"{host}/guardrail/{name}/version/{told['guardrail_version']}/apply"

    async def look(self, text: str, *, is_answer: bool, wire: Wire) -> Sequence[Hit]:
        source = "OUTPUT" if is_answer else "INPUT"
        body = orjson.dumps({"source": source, "content": [{"text": {"text": text}}]})
        answer = await wire.post(self._url, body, self._sign(self._url, body))
        if member(answer, "action", str) not in ("NONE", "GUARDRAIL_INTERVENED"):
            raise bad_answer()
        found = within(text, (hit for each in items(answer, "assessments") for hit in _hits(text, each)))
        if not found and answer["action"] == "GUARDRAIL_INTERVENED":
            return [Hit("intervened", 0, len(text), CERTAIN)]
        return found

    def close(self) -> None:
        return


def _hits(text: str, assessment: Any) -> Iterator[Hit]:
    whole = partial(Hit, start=0, end=len(text))
    for topic in _told(assessment, "topicPolicy", "topics"):
        yield whole(label=named(f"topic_{member(topic, 'name', str)}"), confidence=CERTAIN)
    for each in _told(assessment, "contentPolicy", "filters"):
        yield whole(label=named(member(each, "type", str)), confidence=_sureness(each))
    for each in (*_told(assessment, "wordPolicy", "customWords"), *_told(assessment, "wordPolicy", "managedWordLists")):
        yield from _matches(text, each, "word")
    for each in _told(assessment, "sensitiveInformationPolicy", "piiEntities"):
        yield from _matches(text, each, member(each, "type", str))
    for each in _told(assessment, "sensitiveInformationPolicy", "regexes"):
        yield from _matches(text, each, member(each, "name", str, default="regex"))


def _told(assessment: Any, policy: str, name: str) -> list[Any]:
    """Without what is told although it was not detected, where the guardrail tells all."""
    found = items(member(assessment, policy, dict, default={}), name)
    return [each for each in found if member(each, "detected", bool, default=True)]


def _sureness(told: Any) -> float:
    sureness = SURENESS.get(member(told, "confidence", str))
    if sureness is None:
        raise bad_answer()
    return sureness


def _matches(text: str, told: Any, label: str) -> Iterator[Hit]:
    """Wherever the match stands; the whole text where it stands nowhere, as the service writes it differently."""
    match = member(told, "match", str)
    start = text.find(match) if match else -1
    if start < 0:
        yield Hit(named(label), 0, len(text), CERTAIN)
    while start >= 0:
        yield Hit(named(label), start, start + len(match), CERTAIN)
        start = text.find(match, start + len(match))


KIND: Final = DetectorKind(
    "Amazon Bedrock Guardrails",
    SETTINGS,
    partial(check_settings, SETTINGS),
    Bedrock,
    needs="An access key id and a secret access key (user and password)",
    secret_kinds=("basic",),
    most_bytes=25_000,
)
