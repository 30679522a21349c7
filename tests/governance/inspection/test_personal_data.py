"""Personal data is found by checksum, form or label; numbers that only look alike are left alone."""

import random
from itertools import product

import pytest

from governance.inspection import checksums, personal_numbers
from governance.inspection.engine import inspect_text, inspect_value
from governance.inspection.findings import Kind

PERSONAL: frozenset[Kind] = frozenset(("personal", "card"))


def found(text: str) -> set[tuple[str, str]]:
    return {
        (finding.rule, text[finding.start : finding.end])
        for finding in inspect_text(text, kinds=PERSONAL)
        if finding.confidence >= 0.5
    }


def card(prefix: str, length: int) -> str:
    draw = random.Random(f"{prefix}{length}")
    body = prefix + "".join(draw.choice("0123456789") for _ in range(length - len(prefix) - 1))
    return next(f"{body}{digit}" for digit in range(10) if checksums.luhn(f"{body}{digit}"))


def iban(country: str, body: str) -> str:
    rest = checksums.mod97(f"{body}{country}00")
    return f"{country}{98 - rest:02d}{body}"


def grouped(number: str, size: int, separator: str) -> str:
    return separator.join(number[at : at + size] for at in range(0, len(number), size))


CARDS = [
    card("4", 16),
    card("51", 16),
    card("2221", 16),
    card("37", 15),
    card("6011", 16),
    card("3528", 16),
    card("62", 16),
]
AROUND = (
    "{}",
    "card {} declined",
    '{{"pan": "{}", "n": 1}}',
    "17,{},210.00\n",
    "[{}]",
    "number={};",
    "Card: {} exp 12/29",
)


@pytest.mark.parametrize("number", CARDS)
def test_cards_are_found_in_any_grouping(number: str) -> None:
    written = [number, *(grouped(number, 4, separator) for separator in " -")]
    if len(number) == 15:
        written.append(f"{number[:4]} {number[4:10]} {number[10:]}")
    for each, around in product(written, AROUND):
        text = around.format(each)
        assert ("card_number", each) in found(text), text


IBANS = (
    iban("DE", "370400440532013000"),
    iban("GB", "NWBK60161331926819"),
    iban("FR", "20041010050500013M02606"),
    iban("NO", "86011117947"),
    iban("NL", "ABNA0417164300"),
    iban("MT", "MALT011000012345MTLCAST001S"),
)


@pytest.mark.parametrize("number", IBANS)
@pytest.mark.parametrize("around", ["{}", "to {} from now on", "881,{},95.50", '{{"iban":"{}"}}', "IBAN:{}."])
def test_ibans_are_found_in_groups_and_without(number: str, around: str) -> None:
    for each in (number, grouped(number, 4, " "), number.lower(), grouped(number, 4, "-")):
        text = around.format(each)
        assert ("iban", each) in found(text), text


FOUND = (
    ("us_ssn", "SSN: 536-90-4399", "536-90-4399"),
    ("us_ssn", '{"ssn":"536904399"}', "536904399"),
    ("us_ssn", "gave 536-90-4399 on the phone", "536-90-4399"),
    ("uk_nino", "his NINO is QQ123456C?".replace("QQ", "AB"), "AB123456C"),
    ("uk_nino", "national insurance number JG 10 37 59 A", "JG 10 37 59 A"),
    ("email", "Write to ana.perez+shop@mail.example.co.uk.", "ana.perez+shop@mail.example.co.uk"),
    ("email", "<jörg@müller.example>", "jörg@müller.example"),
    ("email", "user=o'neil@example.museum;", "o'neil@example.museum"),
    ("email", "https://example.org/?mail=ana@example.photography", "ana@example.photography"),
    ("email", "jane [at] example [dot] org", "jane [at] example [dot] org"),
    ("phone", "call +44 20 7946 0958 today", "+44 20 7946 0958"),
    ("phone", "+1 (415) 555-2671 or", "+1 (415) 555-2671"),
    ("phone", "Fax: (212) 555-0187", "(212) 555-0187"),
    ("phone", "reach me on 415.555.2671 x42.", "415.555.2671 x42"),
    ("phone", "+4915112345678", "+4915112345678"),
    ("phone", '{"mobile":"07911123456"}', "07911123456"),
    ("phone", "Tel.: 030/5508287", "030/5508287"),
    ("phone", "téléphone : 06 12 34 56 78", "06 12 34 56 78"),
    ("ip_address", "login from 203.0.114.77 ok", "203.0.114.77"),
    ("ip_address", "remote_addr=2a02:8109:9a40:1778:d1e1:6bd6:88b0:9e33", "2a02:8109:9a40:1778:d1e1:6bd6:88b0:9e33"),
    ("ip_address", "client [2a02:8109::6bd6:9e33]:443", "2a02:8109::6bd6:9e33"),
    ("passport", "passport no. C01X00T47 issued", "C01X00T47"),
    ("passport", '{"passport_number": "533380006"}', "533380006"),
    ("birth_date", "Date of birth: 4 July 1976", "4 July 1976"),
    ("birth_date", '{"dateOfBirth": "1976-07-04"}', "1976-07-04"),
    ("birth_date", "She was born on July 4th, 1976 in Rome", "July 4th, 1976"),
    ("birth_date", "geboren am 04.07.1976", "04.07.1976"),
    ("health_id", "NHS number 943 476 5919", "943 476 5919"),
    ("health_id", "MRN: 00458812", "00458812"),
    ("us_medicare", "MBI 1EG4-TE5-MK73 active", "1EG4-TE5-MK73"),
    ("national_id", "Aadhaar: 2345 6789 0124", "2345 6789 0124"),
    ("brazil_cpf", "CPF 529.982.247-25", "529.982.247-25"),
    ("codice_fiscale", "CF RSSMRA85T10A562S", "RSSMRA85T10A562S"),
    ("address", '"billing_address": "221B Baker Street, London"', "221B Baker Street, London"),
    ("address", "Address: 221B Baker Street, London NW1 6XE", "221B Baker Street, London NW1 6XE"),
    ("address", "Adresse: 12 rue de la Paix, 75002 Paris", "12 rue de la Paix, 75002 Paris"),
)


@pytest.mark.parametrize(
    ("rule", "text", "value"), FOUND, ids=[f"{rule}-{number}" for number, (rule, *_) in enumerate(FOUND)]
)
def test_what_belongs_to_a_person_is_found_whole(rule: str, text: str, value: str) -> None:
    assert (rule, value) in found(text)


HARMLESS = (
    "Upgraded libfoo from 1.2.3.4 to 5.6.7.8", "OID 1.3.6.1.4.1.31534", "version 10.0.19041.1",
    "Chrome/120.0.6099.129", "see section 4.2.1.3",
    "listening on 127.0.0.1:8000 and 0.0.0.0", "git clone git@github.com:acme/tool.git",
    "npm i @scope/pkg@5.2.0 left-pad@1.3.0",
    "logo@2x.png", "postgres://user@db.example.com/app", "ssh deploy@host.example.com",
    '{"ts_ms": 1760364721305, "seq": 8095600834}',
    '{"ts_ns": "1760479016929186398"}', "order_no 4539578763621486", "Part no. 865-75-761, lot 970-00-3594",
    "0000-0000-0000-0000 and 000-00-0000",
    "GB29 is the meeting room", "range 10-20-3000 rows, 650-2530 cm", "isbn 978-3-16-148410-0",
    "mac 62:28:da:74:7a:cd at 08:00:01",
    "uuid 801d199c-7f05-484e-b66f-4af5dda8ad3a", "sha b47a03881b950c9d9e74eca81c3b46f43d9053c2",
    "std::vector<int> a::b::c", "2026-10-12T07:12:01Z",
    "The SSN field is optional; a passport is required; born to run",
    "DE89370400440532013001 has a wrong checksum", "price 1,234.56 +20%",
    "UTC+02:00 2026-01-01 10:00:00+0200", "batch 2021-12-17-3374", "ratio 3.14159265358979 and 2.718281828459045",
    "phone support is optional",
)  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
def test_look_alikes_are_left_alone(text: str) -> None:
    assert not found(text)


def test_the_key_of_a_leaf_and_the_head_of_a_column_are_labels() -> None:
    value = {"person": {"dob": "12/11/1950", "passport_no": "W87244636", "tel": 442079460958, "joined": "12/11/1950"}}
    assert {finding.path for finding in inspect_value(value)} == {"/person/dob", "/person/passport_no", "/person/tel"}
    table = "id,name,dob,note\n1,Ana,1990-02-03,1990-02-04\n2,Bo,03/02/1988,x\n"
    assert {text for _, text in found(table)} == {"1990-02-03", "03/02/1988"}
    bars = "| name | passport |\n|---|---|\n| Ana | W87244636 |\n"
    assert {text for _, text in found(bars)} == {"W87244636"}


@pytest.mark.parametrize(
    ("check", "valid"),
    [
        (personal_numbers.iban, "DE89370400440532013000"),
        (personal_numbers.nhs, "9434765919"),
        (personal_numbers.cpf, "52998224725"),
        (personal_numbers.nir, "255081416802538"),
        (lambda digits: personal_numbers.card(digits) is not None, "4111111111111111"),
        (personal_numbers.aadhaar, "234567890124"),
    ],
    ids=["iban", "nhs", "cpf", "nir", "card", "aadhaar"],
)
def test_a_changed_digit_breaks_the_checksum(check: personal_numbers.Check, valid: str) -> None:
    assert check(valid)
    changed = valid[:-3] + str((int(valid[-3]) + 1) % 10) + valid[-2:]
    assert not check(changed)
