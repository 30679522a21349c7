"""What a destination may not see: the profiles a sink can have."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from django.utils.crypto import salted_hmac

from audit.formats.entry import Redact

AS_IS, HASHED_PEOPLE, METADATA = "as_is", "hashed_people", "metadata"
PROFILES: Final = {
    AS_IS: "As recorded",
    HASHED_PEOPLE: "People as hashes",
    METADATA: "Metadata only: no details, people as hashes",
}
ADDRESS: Final = re.compile(r"[^\s\"'<>:,;()@/]+@[^\s\"'<>:,;()@/]+")
SALT: Final = "gatehouse.export.people"


def redaction(profile: str) -> Redact | None:
    """None for the profile that changes nothing."""
    return {AS_IS: None, HASHED_PEOPLE: hash_people, METADATA: only_metadata}[profile]


def hash_people(header: dict[str, Any]) -> Mapping[str, Any]:
    """Every e-mail address and every mention of the person, wherever it stands, by the same keyed hash."""
    person = str(header.get("person") or "")
    return {key: _hashed(value, person) for key, value in header.items()}


def only_metadata(header: dict[str, Any]) -> Mapping[str, Any]:
    return hash_people({key: value for key, value in header.items() if key != "details"})


@lru_cache(maxsize=4096)
def pseudonym(person: str) -> str:
    """The same in every record, and of no use to whoever tries addresses without this installation's key."""
    return "person-" + salted_hmac(SALT, person.casefold(), algorithm="sha256").hexdigest()[:24]


def _hashed(value: Any, person: str) -> Any:
    if isinstance(value, str):
        if person:
            value = value.replace(person, pseudonym(person))
        return ADDRESS.sub(lambda found: pseudonym(found[0]), value) if "@" in value else value
    if isinstance(value, list):
        return [_hashed(item, person) for item in value]
    if isinstance(value, dict):
        return {_hashed(key, person): _hashed(item, person) for key, item in value.items()}
    return value
