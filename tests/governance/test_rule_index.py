"""Rules that name a tool are found by an index; what they are is what matching each of them tells."""

from fnmatch import fnmatchcase

from hypothesis import example, given
from hypothesis import strategies as st

from governance.snapshot import RuleIndex
from tests import factories as make

CRM = make.connector("crm")
NAMES = st.text(alphabet="ab/_.[!*?", min_size=1, max_size=6)
GLOBS = st.one_of(NAMES, st.sampled_from(["*", "crm/*", "crm__a*", "crm/ab", "crm__ab", "[ab]", "[!a]b", "a[", "?b"]))


@given(st.lists(st.lists(GLOBS, min_size=1, max_size=3).map(tuple), max_size=8), NAMES)
@example([("crm/ab",), ("*",), ("ab", "crm__*"), ("a[",)], "ab")
def test_the_index_finds_what_matching_each_rule_finds(globs: list[tuple[str, ...]], name: str) -> None:
    rules = tuple(make.rule("deny", tools=tools, position=position) for position, tools in enumerate(globs))
    tool = make.tool(name, of=CRM)
    names = (name, f"crm/{name}", f"crm__{name}")
    expected = [rule for rule in rules if any(fnmatchcase(each, glob) for glob in rule.tools for each in names)]
    assert RuleIndex(rules).naming(tool) == expected
    assert [rule for rule in rules if rule.matches(tool)] == expected
