"""Kinds of data that an organisation describes itself: what they find, and which are refused."""

import base64

import pytest

from governance.inspection import class_description, data_class_checks, data_classes
from governance.inspection.class_description import Case, DataClass
from governance.inspection.data_class_checks import class_faults
from governance.inspection.data_classes import ClassTable
from governance.inspection.engine import inspect_text, inspect_value
from governance.inspection.findings import Findings, Severity
from governance.inspection.redaction import redact

PATIENT = DataClass("patient", 3, (r"\bP-(?P<value>[0-9]{6,8})\b",), severity=Severity.HIGH)
ONLY = frozenset(("data_class",))


def found_in(about: DataClass, text: str) -> Findings:
    return inspect_text(text, kinds=frozenset(ONLY), classes=ClassTable((about,))).sure()  # type: ignore[arg-type]


def values(about: DataClass, text: str) -> list[str]:
    return [text[each.start : each.end] for each in found_in(about, text)]


def test_a_pattern_is_found_with_its_class_and_version() -> None:
    (found,) = found_in(PATIENT, "seen: P-123456 yesterday")
    assert (found.rule, found.version, found.kind, found.severity) == ("patient", 3, "data_class", Severity.HIGH)
    assert values(PATIENT, "seen: P-123456 yesterday") == ["123456"], "the group called value is what is meant"


def test_it_is_found_behind_an_encoding() -> None:
    hidden = base64.b64encode(b"the patient is P-123456, who was seen").decode()
    (found,) = found_in(PATIENT, f"note {hidden}")
    assert found.view == "base64"


def test_it_is_masked_by_its_name() -> None:
    value = {"note": "P-123456 came", "P-777777": 1}
    found = inspect_value(value, kinds=frozenset(ONLY), classes=ClassTable((PATIENT,)))  # type: ignore[arg-type]
    assert redact(value, found) == {"note": "P-[PATIENT] came", "P-[PATIENT]": 1}


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        (("Project Falcon",), "about project-FALCON, and projectfalcon", ["project-FALCON"]),
        (("Project Falcon",), "project. and then a falcon", []),
        (("straße",), "in der STRASSE 5", ["STRASSE"]),
        (("Müller",), "Mu\u0308ller und Muller", ["Mu\u0308ller"]),
        (("機密",), "これは機密です", ["機密"]),
        (("falcon", "falcon nine"), "a falcon nine and a falcon", ["falcon nine", "falcon"]),
        (("falcon",), "falcons, falcon_plan", ["falcon"]),
        (("falcon",), "f\uff41lcon", ["f\uff41lcon"]),
    ],
    ids=["signs-between", "too-far", "sharp-s", "decomposed", "no-spaces", "longest", "whole-words", "fullwidth"],
)
def test_words_are_whole_and_folded(words: tuple[str, ...], text: str, expected: list[str]) -> None:
    assert values(DataClass("words", words=words), text) == expected


def test_a_validator_keeps_out_what_only_looks_alike() -> None:
    account = DataClass("account", patterns=(r"\b[0-9]{16}\b",), validator="luhn")
    assert values(account, "4539578763621486 and 4539578763621487") == ["4539578763621486"]


def test_context_stands_near_or_is_the_name_of_the_field() -> None:
    about = DataClass("case", patterns=(r"\b[0-9]{6}\b",), context=("case number",))
    assert values(about, "the case number is 123456") == ["123456"]
    assert values(about, f"case number {'x ' * 100} 123456") == []
    inside = inspect_value({"case_number": "123456"}, kinds=frozenset(ONLY), classes=ClassTable((about,)))  # type: ignore[arg-type]
    assert len(inside.sure()) == 1


def test_where_a_long_text_is_cut_nothing_is_lost() -> None:
    assert len(found_in(PATIENT, "x" * 65_530 + " P-123456 " + "y " * 40_000 + "P-7654321")) == 2


def test_a_text_that_is_nothing_but_matches_ends_as_not_inspected() -> None:
    digits = DataClass("digits", patterns=("[0-9]",))
    assert not found_in(digits, "1" * 20_000).is_complete
    word = DataClass("word", words=("ab",))
    assert not found_in(word, "ab " * 20_000).is_complete


def test_every_validator_that_may_be_named_checks_something() -> None:
    assert set(class_description.VALIDATORS) == set(data_classes.CHECKS)
    assert not any(check("0000000000") for check in data_classes.CHECKS.values())


# -- what is refused


@pytest.mark.parametrize(
    ("about", "field", "says"),
    [
        (DataClass("x"), "patterns", "write a pattern, or words"),
        (DataClass("x", patterns=("a+",)), "patterns[0]", "'+' has no end; write a bound such as {1,40}"),
        (DataClass("x", patterns=("b", "a{2,}")), "patterns[1]", "'{2,}' has no end"),
        (DataClass("x", patterns=("[0-9]{600}x[0-9]{600}",)), "patterns[0]", "come to 1200, more than 1000"),
        (DataClass("x", patterns=("(?=a)b",)), "patterns[0]", "look-around and back-references are not in RE2"),
        (DataClass("x", patterns=("a{0,4}",)), "patterns[0]", "matches where nothing stands"),
        (DataClass("x", patterns=(r"\b",)), "patterns[0]", "matches where nothing stands"),
        (DataClass("x", patterns=("a" * 501,)), "patterns[0]", "longer than 500 characters; split it"),
        (DataClass("x", patterns=("ab",) * 21), "patterns", "at most 20; make another data class"),
        (DataClass("x", words=("ab",) * 5_001), "words", "5001 are more than 5000; make another"),
        (DataClass("x", words=("ok", "!!")), "words[1]", "is no word"),
        (DataClass("x", words=("a b c d e f g h i",)), "words[0]", "8 words"),
        (DataClass("x", words=("ab",), context=("x",)), "context[0]", "is no word"),
        (DataClass("x", words=("ab",), validator="crc"), "validator", "is not one of luhn"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused_with_the_way_out(about: DataClass, field: str, says: str) -> None:
    faults = class_faults(about, [Case("ab", True)])
    assert any(fault.field == field and says in fault.message for fault in faults), faults


@pytest.mark.parametrize("pattern", [r"\Qa+b*\E", "[+*]x", r"a\+b", "[]*]b", r"\d{3}-\d{2,4}"])
def test_signs_that_repeat_nothing_are_no_fault(pattern: str) -> None:
    assert [fault.field for fault in class_faults(DataClass("x", patterns=(pattern,)), [Case("none", True)])] == [
        "tests[0].text"
    ]


def test_a_test_that_fails_keeps_it_from_being_saved() -> None:
    missing, wrong = Case("P-12", True), Case("P-123456", False)
    first, second = class_faults(PATIENT, [missing, wrong])
    assert (first.field, second.field) == ("tests[0].text", "tests[1].text")
    assert "should be found" in first.message
    assert "should be not found" in second.message
    assert class_faults(PATIENT, [Case("P-123456", True)]) == []
    assert class_faults(PATIENT, [])[0].field == "tests"


def test_a_slow_pattern_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """How slow is measured; here, any time is too long."""
    monkeypatch.setattr(data_class_checks, "SLOWEST_SECONDS", -1.0)
    (fault,) = class_faults(PATIENT, [Case("P-123456", True)])
    assert (fault.field, "bound it more closely" in fault.message) == ("patterns[0]", True)
