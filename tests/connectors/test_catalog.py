"""Lists of prompts, resources and templates, all pages as they were sent."""

from typing import Any

import pytest

from connectors.base import Catalog, UpstreamAuth, UpstreamFailure
from connectors.mcp_http import McpHttp
from tests.connectors.conftest import MakeSpec
from tests.connectors.servers import ScriptedServer, Turn

LISTS = {
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
BOTH = {"prompts": {}, "resources": {}}


def paged(member: str, key: str, *pages: list[str], **more: Any) -> Any:
    async def script(turn: Turn) -> None:
        cursor = turn.seen.message["params"].get("cursor")
        number = int(cursor) if cursor else 0
        following = {"nextCursor": str(number + 1)} if number + 1 < len(pages) else {}
        items = [{key: name, "x-vendor": {"deep": [None]}} for name in pages[number]]
        await turn.result({member: items, **following, **{name: value[number] for name, value in more.items()}})

    return script


@pytest.mark.parametrize("method", sorted(LISTS))
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_all_pages_come_as_they_were_sent(  # noqa: PLR0917
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth, method: str, era: str
) -> None:
    (upstream.be_modern if era == "modern" else upstream.be_legacy)(capabilities=BOTH)
    member, key = LISTS[method]
    upstream.scripts[method] = paged(member, key, ["a", "b"], [], ["c"], ttlMs=[9000, 5000, 7000])
    catalog = await connector.catalog(spec_of(upstream.url), auth, method)
    assert [item[key] for item in catalog.items] == ["a", "b", "c"]
    assert catalog.items[0] == {key: "a", "x-vendor": {"deep": [None]}}
    assert catalog.ttl_seconds == 5.0


@pytest.mark.parametrize("method", sorted(LISTS))
async def test_what_the_upstream_does_not_offer_is_not_asked_for(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth, method: str
) -> None:
    upstream.be_modern(capabilities={"tools": {}})
    assert await connector.catalog(spec_of(upstream.url), auth, method) == Catalog(())
    assert method not in upstream.methods()


@pytest.mark.parametrize("ttl", [-1, "5", None, True, 10**12])
async def test_a_senseless_time_to_live_is_none(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth, ttl: object
) -> None:
    upstream.be_modern(capabilities=BOTH)
    upstream.scripts["prompts/list"] = paged("prompts", "name", ["a"], ttlMs=[ttl])
    catalog = await connector.catalog(spec_of(upstream.url), auth, "prompts/list")
    assert catalog.ttl_seconds is None


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ({"resources": [{"uri": "a"}], "nextCursor": "same"}, "bad_answer"),
        ({"resources": [{"uri": "a"}, {"uri": "a"}]}, "bad_answer"),
        ({"resources": [{"name": "a"}]}, "bad_answer"),
        ({"resources": {"uri": "a"}}, "bad_answer"),
        ({"resourceTemplates": []}, "bad_answer"),
        ({"resources": [], "resultType": "input_required", "requestState": "s"}, "bad_answer"),
        ({"resources": [{"uri": f"a{number}"} for number in range(5_001)]}, "too_large"),
    ],
)
async def test_lists_that_make_no_sense_are_refused(  # noqa: PLR0917
    connector: McpHttp,
    upstream: ScriptedServer,
    spec_of: MakeSpec,
    auth: UpstreamAuth,
    result: dict[str, Any],
    code: str,
) -> None:
    upstream.be_modern(capabilities=BOTH)

    async def script(turn: Turn) -> None:
        await turn.result(result)

    upstream.scripts["resources/list"] = script
    with pytest.raises(UpstreamFailure) as caught:
        await connector.catalog(spec_of(upstream.url), auth, "resources/list")
    assert caught.value.code == code


async def test_an_error_is_a_failure_not_an_empty_list(
    connector: McpHttp, upstream: ScriptedServer, spec_of: MakeSpec, auth: UpstreamAuth
) -> None:
    upstream.be_modern(capabilities=BOTH)

    async def script(turn: Turn) -> None:
        await turn.error(-32603, status="200 OK")

    upstream.scripts["prompts/list"] = script
    with pytest.raises(UpstreamFailure):
        await connector.catalog(spec_of(upstream.url), auth, "prompts/list")
