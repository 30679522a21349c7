"""Personal data that only its label tells from any other value: in prose, under a key, or in a column of a table."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from governance.inspection import columns, personal_numbers
from governance.inspection.detector import Hit
from governance.inspection.findings import Severity
from governance.inspection.signals import Signal
from governance.inspection.views import View
from governance.inspection.walk import Leaf

VERSION: Final = 1
MAX_STEPS: Final = 6
"""Words and signs between a label and its value."""
DATE: Final = (
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/. ][0-9]{1,2}[-/. ](?:[0-9]{4}|[0-9]{2})|(?:19"
    r"|20)[0-9]{6}"
    r"|[0-9]{1,2}(?:st|nd|rd|th)?[ .\-/]{1,2}(?:of )?[^\W\d_]{3,12}\.?[, .\-/]{1,3}[0-9]{4}"
    r"|[^\W\d_]{3,12}\.? [0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4})"
)


@dataclass(frozen=True, slots=True)
class Labelled:
    """`name` is found in prose and in names of keys; `value` is what may follow it."""

    rule: str
    name: str
    value: re.Pattern[str]
    check: Callable[[str], bool] = lambda written: True
    confidence: float = 0.9
    severity: Severity = Severity.MEDIUM


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _has_digits(least: int) -> Callable[[str], bool]:
    return lambda written: sum(each.isdigit() for each in written) >= least


STREET: Final = re.compile(
    r"(?i)\b(?:street|st|avenue|ave|road|rd|lane|ln|drive|boulevard|blvd|court|place|square|terrace|crescent|rue|via|calle"
    r"|avenida|rua|piazza|allée|chemin)\b|(?:straße|strasse|str\.|weg|platz|gasse|allee|laan|straat)\b"
)
"""Of an address that is only called so: of a memory, a wallet or a mailbox it is none."""
KINDS: Final = (
    Labelled(
        "birth_date",
        r"(?:^|[^a-z])dob(?:[^a-z]|$)|d\.o\.b|date[ _\-]?of[ _\-]?birth|birth[ _\-]?da(?:te|y)|\bborn\b"
        r"|geburtsdatum|geboren"
        r"|date de naissance|fecha de nacimiento|data di nascita|geboortedatum|data de nascimento",
        re.compile(DATE, re.IGNORECASE),
    ),
    Labelled(
        "passport",
        r"passport|reisepass|passeport|pasaporte|passaporto|paspoort",
        re.compile(r"[A-Z]{0,3}[ \-]?[0-9]{6,9}[A-Z]?\b|[A-Z0-9]{8,9}\b"),
        _has_digits(5),
        severity=Severity.HIGH,
    ),
    Labelled(
        "us_ssn",
        r"(?:^|[^a-z])ssn|social[ _\-]?security|(?:^|[^a-z])itin(?:[^a-z]|$)",
        re.compile(r"[0-9]{3}[- .]?[0-9]{2}[- .]?[0-9]{4}\b"),
        lambda written: personal_numbers.ssn(_digits(written), labelled=True),
        severity=Severity.HIGH,
    ),
    Labelled(
        "uk_nino",
        r"(?:^|[^a-z])nino(?:[^a-z]|$)|national[ _\-]?insurance",
        re.compile(r"(?i)[A-Z]{2}[ \-]?[0-9]{2}[ \-]?[0-9]{2}[ \-]?[0-9]{2}[ \-]?[A-D]\b"),
        severity=Severity.HIGH,
    ),
    Labelled(
        "phone",
        r"(?:^|[^a-z]|tele|mobile|work|home|cell)phone|(?:^|[^a-z])(?:tel|mobile|cell|fax|msisdn|whatsapp"
        r"|handy)(?:[^a-z]|$)|telefon",
        re.compile(r"\+?\(?[0-9][0-9 ().\-/]{5,18}[0-9](?: ?(?:x|ext\.?) ?[0-9]{1,6})?\b"),
        lambda written: 7 <= len(_digits(written)) <= 15 and len(set(_digits(written))) > 2,
        0.85,
    ),
    Labelled(
        "health_id",
        r"(?:^|[^a-z])(?:mrn|mbi|hicn|nhs|ehic|kvnr)(?:[^a-z]|$)|medical[ _\-]?record|patient[ _\-]?(?:id|no"
        r"|number)|medicare|medicaid"
        r"|health[ _\-]?(?:insurance|card|plan|id)|insurance[ _\-]?(?:id|number|no|policy)|member[ _\-]?id"
        r"|krankenversicher\w*|versicherten\w*",
        re.compile(r"[A-Z]{0,4}[ \-]?[0-9][A-Z0-9 \-]{4,16}[A-Z0-9]\b"),
        _has_digits(6),
        0.85,
        Severity.HIGH,
    ),
    Labelled(
        "national_id",
        r"aadhaar|aadhar|(?:^|[^a-z])(?:pesel|dni|nie|curp|sin|tfn|bsn|nir|cpf|nric|personnummer)(?:[^a-z]|$)"
        r"|national[ _\-]?id|social[ _\-]?insurance"
        r"|tax[ _\-]?(?:id|file|number)|steuer[ _\-]?id\w*|identity[ _\-]?card|driver'?s?[ _\-]?licen[cs]e"
        r"|driving[ _\-]?licen[cs]e",
        re.compile(r"[A-Z]{0,5}[0-9][A-Z0-9 .\-]{5,18}[A-Z0-9]\b"),
        _has_digits(6),
        0.8,
        Severity.HIGH,
    ),
    Labelled(
        "bank_account",
        r"(?:bank[ _\-]?)?account[ _\-]?(?:no|number|nr)\b|account_number|sort[ _\-]?code|routing[ _\-]?(?:no"
        r"|number)|(?:^|[^a-z])(?:aba|bban)(?:[^a-z]|$)",
        re.compile(r"[0-9][0-9 \-]{4,22}[0-9]\b"),
        lambda written: 6 <= len(_digits(written)) <= 18,
        0.75,
        Severity.HIGH,
    ),
    Labelled(
        "address",
        r"(?:street|postal|home|billing|shipping|mailing|residential)[ _\-]?address|(?:^|[\"' _])street(?:_?1"
        r"|_?line)?[\"']?\s*[:=]|address[ _]?(?:line)?[ _]?1",
        re.compile(
            r"[0-9]{1,6}[A-Za-z]? [^\"\n<>|;]{4,100}|[^\W\d_][^\"\n<>|;,]{3,60} [0-9]{1,5}[A-Za-z]?\b[^\"\n<>|;]{0,60}"
        ),
        lambda written: len(written.split()) >= 2,
        0.6,
    ),
    Labelled(
        "address",
        r"(?:^|[^a-z])(?:address|adresse|anschrift|indirizzo|direcci[oó]n|adres|(?:ship|deliver|sent) to)"
        r"[\"']?\s?[:=]",
        re.compile(
            r"[0-9]{1,6}[A-Za-z]?,? [^\"\n<>|;.]{4,100}"
            r"|[^\W\d_][^\"\n<>|;,]{3,60} [0-9]{1,5}[A-Za-z]?\b[^\"\n<>|;.]{0,60}"
        ),
        lambda written: STREET.search(written) is not None,
        0.6,
    ),
)
SIGNAL: Final = Signal(
    "personal.label",
    "|".join(f"({kind.name})" for kind in KINDS),
    "|".join(f"(?:{kind.name})" for kind in KINDS),
    caseless=True,
)
NAMES: Final = tuple((kind, re.compile(kind.name, re.IGNORECASE)) for kind in KINDS)


def _hit(kind: Labelled, start: int, end: int) -> Hit:
    return Hit(kind.rule, VERSION, "personal", kind.severity, kind.confidence, start, end)


def labelled(view: View) -> Iterator[Hit]:
    """A value that follows its label."""
    for match in SIGNAL.find(view.encoded):
        kind = next(kind for kind, (start, _) in zip(KINDS, match.groups, strict=True) if start >= 0)
        if value := _following(kind, view.text, match.end - 1):
            yield _hit(kind, *value)


def _following(kind: Labelled, text: str, position: int) -> tuple[int, int] | None:
    """The value within a few joining words and signs."""
    while position < len(text) and text[position].isalpha():
        position += 1
    for _ in range(MAX_STEPS):
        value = kind.value.match(text, position)
        if value and not text[position - 1 : position].isalnum() and kind.check(value.group()):
            return value.span()
        step = STEP.match(text, position)
        if step is None:
            return None
        position = step.end()
    return None


STEP: Final = re.compile(
    r"""(?ix) [\s"'`:=>#|().,*\\_\-/\[]{1,12}
      | (?:is|was|no|nr|num|number|id|on|of|the|as|given|reads|card|code|holder|in|at|my|her|his|their
      |to|for|us|uk|valid|nummer|numero|called
      |am|den|le|el|il|op|em)\b"""
)


def named(leaf: Leaf) -> Iterator[Hit]:
    """A leaf under a key that is a label."""
    for kind in _labelling(leaf.name):
        if (value := kind.value.fullmatch(leaf.text.strip())) and kind.check(value.group()):
            yield _hit(kind, 0, len(leaf.text))


def is_label(name: str) -> bool:
    return bool(_labelling(name))


@lru_cache(maxsize=4096)
def _labelling(name: str) -> tuple[Labelled, ...]:
    return tuple(kind for kind, label in NAMES if label.search(name))


def in_columns(view: View) -> Iterator[Hit]:
    """Cells under a header that is a label."""
    for cell in columns.cells(view, SIGNAL):
        kind = next((kind for kind, pattern in NAMES if pattern.search(cell.name)), None)
        if kind and (value := kind.value.fullmatch(cell.text)) and kind.check(value.group()):
            yield _hit(kind, cell.start, cell.end)
