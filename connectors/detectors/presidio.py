"""Microsoft Presidio's analyzer, which somebody runs for the organisation: `POST /analyze`. It counts code points."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import orjson

from connectors.base import Headers
from connectors.detectors.base import (
    MOST_HITS,
    DetectorKind,
    Hit,
    Wire,
    bad_answer,
    count,
    member,
    named,
    score,
    within,
)
from connectors.detectors.settings import Setting, check_settings, listed, read

SETTINGS: Final = (
    Setting("url", "Address", text="Of the analyzer, without a path, e.g. http://presidio:5002.", shape="url"),
    Setting("language", "Language", "en", "That the analyzer is set up for.", pattern="[a-z]{2}", must_be="e.g. en"),
    Setting(
        "entities",
        "Entities",
        "",
        "Separated by commas, e.g. PERSON, US_SSN. Empty: all that it knows.",
        shape="list",
        pattern="[A-Z0-9_]{1,64}",
        must_be="names such as US_SSN",
    ),
)


class Presidio:
    model = ""

    def __init__(self, settings: Mapping[str, Any], secret: str) -> None:
        told = read(SETTINGS, settings)
        self._url = f"{told['url'].rstrip('/')}/analyze"
        self._about: dict[str, Any] = {"language": told["language"]}
        if entities := listed(told["entities"]):
            self._about["entities"] = entities
        self._headers: Headers = (("Authorization", f"Bearer {secret}"),) if secret else ()

    async def look(self, text: str, *, is_answer: bool, wire: Wire) -> Sequence[Hit]:
        answer = await wire.post(self._url, orjson.dumps({**self._about, "text": text}), self._headers)
        if not isinstance(answer, list) or len(answer) > MOST_HITS:
            raise bad_answer()
        return within(text, map(_hit, answer))

    def close(self) -> None:
        return


def _hit(told: Any) -> Hit:
    label = named(member(told, "entity_type", str))
    return Hit(label, count(told, "start"), count(told, "end"), score(told, "score"))


KIND: Final = DetectorKind(
    "Microsoft Presidio",
    SETTINGS,
    partial(check_settings, SETTINGS),
    Presidio,
    needs="A bearer token, if a proxy before the analyzer wants one",
    may_lack_it=True,
    most_bytes=1_000_000,
)
