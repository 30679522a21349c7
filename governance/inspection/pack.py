"""The pack of detection rules that ships with this release: what each looks for, and what tells one pack from another.

Pure. A test holds the table against what the detectors yield.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

from governance.inspection import definition_sentences, hidden_text_detector, injection, labels, personal_data, secrets
from governance.inspection.digest import SHOWN, pack_digest
from governance.inspection.findings import Kind, Severity
from governance.inspection.injection_model import FILE as MODEL
from governance.inspection.injection_rules import MARKS, ROWS
from governance.inspection.secret_formats import FORMATS

NAMED_SECRETS: Final[Mapping[str, tuple[Severity, str]]] = {
    "private_key": (Severity.CRITICAL, "A private key as PEM"),
    "jwt": (Severity.HIGH, "A signed JSON web token"),
    "url_credentials": (Severity.HIGH, "A name and password in an address, also of a database"),
    "url_token": (Severity.HIGH, "A token in the query of an address"),
    "session_cookie": (Severity.HIGH, "A cookie that holds a session"),
    "authorization_header": (Severity.HIGH, "What an Authorization header carries"),
    "named_password": (Severity.HIGH, "A value under the name of a password"),
    "named_token": (Severity.HIGH, "A value under the name of a token"),
    "named_key": (Severity.HIGH, "A value under a name that says no more than key"),
}
PERSONAL: Final[Mapping[str, tuple[Severity, str]]] = {
    "card_number": (Severity.HIGH, "A payment card by issuer, length and check digit"),
    "iban": (Severity.HIGH, "An IBAN by country, length and check digits"),
    "us_ssn": (Severity.HIGH, "A US social security number"),
    "uk_nino": (Severity.HIGH, "A UK national insurance number"),
    "email": (Severity.MEDIUM, "An e-mail address, also spelt out"),
    "ip_address": (Severity.LOW, "An IP address"),
    "phone": (Severity.MEDIUM, "A phone number, abroad or at home"),
    "us_medicare": (Severity.HIGH, "A US Medicare number"),
    "brazil_cpf": (Severity.HIGH, "A Brazilian CPF by its check digits"),
    "codice_fiscale": (Severity.HIGH, "An Italian tax code"),
    "passport_mrz": (Severity.HIGH, "The machine-readable lines of a passport"),
    "birth_date": (Severity.MEDIUM, "A date under the name of a birth date"),
    "passport": (Severity.HIGH, "A number under the name of a passport"),
    "health_id": (Severity.HIGH, "A number under the name of a patient, insurance or health card"),
    "national_id": (Severity.HIGH, "A number under the name of a national or tax identity"),
    "bank_account": (Severity.HIGH, "A number under the name of a bank account"),
    "address": (Severity.MEDIUM, "A street address under its name"),
}
FAMILIES: Final[Mapping[str, str]] = {
    "override": "An order to forget what was said before",
    "role": "A new role for the reader",
    "spoof": "Text that poses as another speaker",
    "concealment": "An order to hide something from the user",
    "exfiltration": "An order to send data somewhere",
    "coercion": "An order to use a tool or to do something first",
    "authority": "A claim that it was allowed",
    "encoded": "An order to carry out what is encoded",
    "relay": "An order to pass a text on",
    "reveal": "An order to tell secrets or instructions",
    "steering": "An order on how to answer",
    "model": "A passage that the model takes for an order, without a rule",
}
HIDDEN: Final[Mapping[str, str]] = {
    "tag_characters": "Letters that no font shows",
    "variation_selectors": "Bytes hidden behind a sign",
    "bidi_override": "Text that reads otherwise than it stands",
    "zero_width": "Unseen characters between letters",
    "look_alikes": "Letters of another script that look alike",
    "terminal_escape": "Orders to a terminal",
    "far_away_text": "Text far below what is seen",
}
DEFINITIONS: Final[Mapping[str, str]] = {
    "precedence": "A tool that wants to be called before others",
    "excludes": "A tool that forbids others",
    "other_tool": "A tool that changes what others do",
    "loot": "A tool that wants conversations or secrets as arguments",
    "local_files": "A tool that has local files read",
    "model_must": "A tool that tells the model what it must do",
    "hidden_step": "A tool with a step behind the user's back",
    "new_rules": "A tool that makes new rules",
    "parameter": "A parameter that fishes for the conversation",
}


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """One detection rule."""

    rule: str
    kind: Kind
    version: int
    severity: Severity
    looks_for: str


@dataclass(frozen=True, slots=True)
class Pack:
    """`digest` is over the engine's code, its rules and its model: another one may find other things."""

    digest: str
    model: str
    rules: tuple[BuiltIn, ...]

    def versions(self) -> dict[str, int]:
        return {each.rule: each.version for each in self.rules}


@lru_cache(maxsize=1)
def shipped() -> Pack:
    return Pack(pack_digest(), sha256(MODEL.read_bytes()).hexdigest()[:SHOWN], tuple(_rules()))


def _rules() -> Iterator[BuiltIn]:
    yield from _secrets()
    for rule, (severity, words) in PERSONAL.items():
        version = labels.VERSION if rule in {kind.rule for kind in labels.KINDS} else personal_data.VERSION
        yield BuiltIn(rule, "card" if rule == "card_number" else "personal", version, severity, words)
    names = {each.rule.name for each in ROWS} | {rule.name for rule, _ in MARKS} | {"model"}
    for name in sorted(names):
        words = FAMILIES.get(name.split(".", 1)[0], "An injected order")
        yield BuiltIn(f"injection.{name}", "injection", injection.VERSION, Severity.HIGH, words)
    for name, severity in hidden_text_detector.SEVERITIES.items():
        yield BuiltIn(f"unicode.{name}", "unicode", hidden_text_detector.VERSION, severity, HIDDEN[name])
    severities = {name: severity for name, _, severity, _ in definition_sentences.SENTENCES}
    for name, words in DEFINITIONS.items():
        severity = severities.get(name, Severity.MEDIUM)
        yield BuiltIn(f"definition.{name}", "definition", definition_sentences.VERSION, severity, words)


def _secrets() -> Iterator[BuiltIn]:
    formats = {each.rule: each.severity for each in reversed(FORMATS)}
    for rule in sorted(formats):
        words = f"{rule.replace('_', ' ').capitalize()}, in the form that its vendor documents"
        yield BuiltIn(rule, "secret", secrets.VERSION, formats[rule], words)
    for rule, (severity, words) in NAMED_SECRETS.items():
        if rule not in formats:
            yield BuiltIn(rule, "secret", secrets.VERSION, severity, words)
