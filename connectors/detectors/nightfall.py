"""Nightfall: `POST /v3/scan`. It tells places in code points."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from connectors.detectors.base import (
    DetectorFailure,
    DetectorKind,
    Hit,
    Wire,
    bad_answer,
    count,
    items,
    member,
    named,
    within,
)
from connectors.detectors.settings import Setting, check_settings, listed, read

UUID: Final = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
SETTINGS: Final = (
    Setting("url", "Address", "https://api.nightfall.ai", "Without a path.", shape="url"),
    Setting(
        "policies",
        "Policies",
        "",
        "UUIDs of policies made at Nightfall, separated by commas.",
        shape="list",
        pattern=UUID,
        must_be="UUIDs of policies",
    ),
    Setting(
        "rules",
        "Detection rules",
        "",
        "UUIDs of detection rules made at Nightfall; these or policies.",
        shape="list",
        pattern=UUID,
        must_be="UUIDs of detection rules",
    ),
)
SURENESS: Final[Mapping[str, float]] = {
    "VERY_UNLIKELY": 0.1,
    "UNLIKELY": 0.3,
    "POSSIBLE": 0.5,
    "LIKELY": 0.7,
    "VERY_LIKELY": 0.9,
}
"""Google's words are the same ones."""


def check(settings: Mapping[str, Any]) -> None:
    check_settings(SETTINGS, settings)
    told = read(SETTINGS, settings)
    if bool(told["policies"]) == bool(told["rules"]):
        raise ValueError("policies: name policies or detection rules, not both")


class Nightfall:
    model = ""

    def __init__(self, settings: Mapping[str, Any], secret: str) -> None:
        told = read(SETTINGS, settings)
        self._url = f"{told['url'].rstrip('/')}/v3/scan"
        policies, rules = listed(told["policies"]), listed(told["rules"])
        self._about: dict[str, Any] = (
            {"policyUUIDs": policies} if policies else {"policy": {"detectionRuleUUIDs": rules}}
        )
        self._headers = (("Authorization", f"Bearer {secret}"),)

    async def look(self, text: str, *, is_answer: bool, wire: Wire) -> Sequence[Hit]:
        answer = await wire.post(self._url, orjson.dumps({**self._about, "payload": [text]}), self._headers)
        if errors := member(answer, "errors", list, default=[]):
            raise DetectorFailure("error", f"It tells of {len(errors)} errors.")
        told = member(answer, "findings", list)
        if len(told) != 1 or not isinstance(told[0], list):
            raise bad_answer()
        return within(text, map(_hit, items({"of": told[0]}, "of")))

    def close(self) -> None:
        return


def _hit(told: Any) -> Hit:
    found = member(member(told, "location", dict), "codepointRange", dict)
    sureness = SURENESS.get(member(told, "confidence", str))
    if sureness is None:
        raise bad_answer()
    label = named(member(member(told, "detector", dict), "name", str))
    return Hit(label, count(found, "start", 0), count(found, "end"), sureness)


KIND: Final = DetectorKind("Nightfall", SETTINGS, check, Nightfall, needs="The API key (bearer)")
