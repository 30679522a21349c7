"""Names of prompts and resources: back and forth without a catalog, and never another spelling for the same thing."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call import Frame
from gateway.targets import PROMPT, RESOURCE, expose_uris, exposed_name, find_target, upstream_name
from governance.snapshot import TARGET_LIMIT, Bundle, Snapshot, is_plainly_spelled
from tests import factories as make

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
KINDS = st.sampled_from((PROMPT, RESOURCE))
METHODS = {PROMPT: "prompts/get", RESOURCE: "resources/read"}


def offering(*connectors: str, kind: str = RESOURCE, prefixed: bool = False, **globs: tuple[str, ...]) -> Bundle:
    selections = tuple(make.selection(kind, of=make.connector(name), **globs) for name in connectors)
    return make.bundle(selections=selections, is_prefixed=prefixed)


def view(*bundles: Bundle) -> Snapshot:
    return make.snapshot(bundles=bundles)


def asking(name: str, kind: str = RESOURCE, *, bundle: str | None = "support") -> Frame:
    return Frame(make.KEY, bundle, name, {}, "2025-11-25", method=METHODS[kind])


def found(frame: Frame, *bundles: Bundle) -> tuple[str, str] | None:
    target = find_target(frame, bundles, view(*bundles))
    return (target[0].connector.name, target[0].upstream_name) if target else None


@given(st.lists(NAMES, min_size=1, max_size=3, unique=True), st.text(max_size=50), KINDS, st.booleans(), st.booleans())
def test_an_exposed_name_leads_back_to_its_connector_and_no_other(
    connectors: list[str], name: str, kind: str, prefixed: bool, union: bool
) -> None:
    bundle = offering(*connectors, kind=kind, prefixed=prefixed)
    for selection in bundle.selections:
        exposed = exposed_name(bundle, selection.connector, name, kind, union=union)
        leads_to = {
            other.connector.name: upstream_name(bundle, other.connector, exposed, kind, union=union)
            for other in bundle.selections
        }
        assert leads_to.pop(selection.connector.name) == name
        assert set(leads_to.values()) <= {None}


@pytest.mark.parametrize(
    ("bundle", "kind", "union", "exposed"),
    [
        (offering("wiki"), RESOURCE, False, "file:///a"),
        (offering("wiki"), RESOURCE, True, "wiki+file:///a"),
        (offering("wiki", "helpdesk"), RESOURCE, False, "wiki+file:///a"),
        (offering("wiki", prefixed=True), RESOURCE, False, "file:///a"),
        (offering("wiki", kind=PROMPT), PROMPT, False, "file:///a"),
        (offering("wiki", kind=PROMPT, prefixed=True), PROMPT, False, "wiki__file:///a"),
        (offering("wiki", "helpdesk", kind=PROMPT), PROMPT, False, "wiki__file:///a"),
    ],
)
def test_names_are_plain_only_where_there_is_one_connector(
    bundle: Bundle, kind: str, union: bool, exposed: str
) -> None:
    assert exposed_name(bundle, make.connector("wiki"), "file:///a", kind, union=union) == exposed
    assert found(asking(exposed, kind, bundle=None if union else "support"), bundle) == ("wiki", "file:///a")


def test_only_what_is_selected_is_found() -> None:
    bundle = offering("wiki", allow=("file:///handbook/*",), deny=("file:///handbook/salaries/*",))
    assert found(asking("file:///handbook/holidays"), bundle) == ("wiki", "file:///handbook/holidays")
    for uri in ("file:///handbook/salaries/2026", "file:///etc/passwd", "", "wiki+file:///handbook/holidays"):
        assert found(asking(uri), bundle) is None
    assert found(asking("file:///handbook/holidays", PROMPT), bundle) is None
    assert found(asking("file:///handbook/holidays"), make.bundle()) is None


SPELLINGS = (
    "file:///handbook/../etc/passwd",
    "file:///handbook/%2e%2e/etc/passwd",
    "file:///handbook/%252e%252e/etc/passwd",
    "file:///handbook/..%2fetc/passwd",
    "file:///handbook/%2E./etc/passwd",
    "file:///handbook/..;x/etc/passwd",
    "file:///handbook\\..\\etc",
    "file:///handbook/%5c..%5cetc",
    "file:///handbook/.",
    "file:///handbook/s%61laries/2026",
    "FILE:///handbook/salaries/2026",
    "file:///handbook/a b",
    "file:///handbook/a\x00b",
    "file:///handbook/a\n",
    "/handbook/a",
    "https://SALARIES.example/2026",
    "https://salaries.example./2026",
    "https://salaries.example:443/2026",
    "http://salaries.example:080/2026",
    "https://salaries.example:/2026",
    "https://somebody@salaries.example/2026",
    "https://ｓalaries.example/2026",
    "https:salaries.example/2026",
    "https:///salaries.example/2026",
)


@pytest.mark.parametrize("uri", SPELLINGS)
def test_another_spelling_does_not_get_past_the_globs(uri: str) -> None:
    assert not is_plainly_spelled(uri)
    assert found(asking(uri), offering("wiki", allow=("*",))) is None


@pytest.mark.parametrize(
    "uri",
    [
        "file:///a/b.txt",
        "test://x/{id}/data",
        "note://Todo/Monday",
        "https://a.example/?q=%20x&r=1#y",
        "https://{Tenant}.a.example:8443/{id}",
        "http://[::1]:8000",
        "db+sql://t/..a/b..",
        "x:é",
    ],
)
def test_ordinary_uris_are_taken(uri: str) -> None:
    assert is_plainly_spelled(uri)
    assert found(asking(uri), offering("wiki")) == ("wiki", uri)


@given(st.text(alphabet="./\\%25eEfF;a:", max_size=30))
def test_no_plain_spelling_decodes_to_a_step_upwards(tail: str) -> None:
    uri = decoded = f"file:///a/{tail}"
    if is_plainly_spelled(uri):
        for _ in range(6):
            assert ".." not in decoded.replace("\\", "/").split("/")
            decoded = unquote(decoded, errors="replace")


def test_a_name_without_end_is_unknown() -> None:
    assert found(asking("file:///" + "a" * TARGET_LIMIT), offering("wiki")) is None
    assert found(asking("a" * (TARGET_LIMIT + 1), PROMPT), offering("wiki", kind=PROMPT)) is None


def test_through_several_bundles_all_that_give_the_same_count() -> None:
    one, two = offering("wiki"), make.bundle("other", selections=(make.selection(RESOURCE, of=make.connector("wiki")),))
    target = find_target(asking("wiki+file:///a", bundle=None), (one, two), view(one, two))
    assert target is not None
    assert [bundle.name for bundle in target[1]] == ["support", "other"]


def test_uris_in_results_can_be_asked_for() -> None:
    bundle = offering("wiki", "helpdesk")
    link, embedded = (
        {"type": "resource_link", "uri": "a:b", "name": "b"},
        {"type": "resource", "resource": {"uri": "a:c"}},
    )
    text = {"type": "text", "text": "a:b"}
    result = {
        "contents": [{"uri": "a:d", "text": "x"}],
        "content": [link, embedded, text, None],
        "messages": [{"role": "user", "content": link}, {"role": "user", "content": [embedded]}, 7],
        "_meta": {"vendor": 1},
    }
    shown = expose_uris(result, bundle, make.connector("wiki"), union=False)
    assert shown["contents"][0]["uri"] == "wiki+a:d"
    assert [shown["content"][0]["uri"], shown["content"][1]["resource"]["uri"]] == ["wiki+a:b", "wiki+a:c"]
    assert shown["content"][2:] == [text, None]
    assert shown["messages"][0]["content"]["uri"] == "wiki+a:b"
    assert shown["messages"][1]["content"][0]["resource"]["uri"] == "wiki+a:c"
    assert shown["_meta"] == {"vendor": 1}
    assert expose_uris(result, offering("wiki"), make.connector("wiki"), union=False) is result
    assert link["uri"] == "a:b"
