"""The searches for gaps in docs/export.md: they name what arrives, and what they compute is what the page shows.

Neither Splunk nor Azure runs here. The same steps in SQL, over what the fakes took, give the tables of the page.
"""

import json
import re
import sqlite3
from pathlib import Path

import pytest

from audit.sinks import sentinel, splunk
from tests.audit.sinks.fake_sentinel import CLIENT_ID, COLUMNS, DCR, SECRET, STREAM, TENANT, FakeSentinel
from tests.audit.sinks.fake_splunk import TOKEN, FakeSplunk
from tests.audit.sinks.records import checkpoint, records, way_to

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "export.md").read_text()
TEMPLATE = json.loads((ROOT / "deploy" / "sentinel" / "gatehouse.json").read_text())
SPL_WORDS = {
    "tstats", "count", "where", "by", "eval", "tonumber", "sort", "streamstats", "current", "f", "last", "as", "table",
    "append", "stats", "max", "or", "isnull", "index", "sourcetype",
}  # fmt: skip
LOST = {3, 7, 8}
GAPS = """
    SELECT * FROM (
        SELECT org, before + 1, leaf - 1, leaf - before - 1 FROM (
            SELECT org, leaf, lag(leaf) OVER (PARTITION BY org ORDER BY leaf) AS before FROM arrived
        ) WHERE leaf > before + 1
    ) ORDER BY 1, 2
"""


def searches(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def shown_after(heading: str) -> list[tuple[str, ...]]:
    """The rows of the first table below a heading, its head and rule left out."""
    table = re.search(r"\n\n(\|.*?)\n\n", PAGE[PAGE.index(heading) :], re.DOTALL)
    assert table
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table[1].splitlines()[2:]]


def gaps_in(arrived: list[tuple[str, int]]) -> list[tuple[str, ...]]:
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE arrived (org TEXT, leaf INTEGER)")
        database.executemany("INSERT INTO arrived VALUES (?, ?)", arrived)
        found = [tuple(map(str, row)) for row in database.execute(GAPS)]
    database.close()
    return found


@pytest.fixture
def in_splunk() -> list[dict[str, str]]:
    """The indexed fields of twelve leaves, one of them twice, and a checkpoint."""
    fake = FakeSplunk()
    settings = splunk.Settings.of({"url": "https://splunk.corp.example"})
    sink = splunk.Splunk(settings, TOKEN, way_to(fake).http(), sleep=lambda seconds: None)
    sink.send([*records(12), *records(1, first=5)])
    sink.send([checkpoint(12)])
    return [event["fields"] for event in fake.events]


@pytest.fixture
def in_sentinel() -> list[dict[str, object]]:
    fake = FakeSentinel()
    settings = {"endpoint": "https://gatehouse-abcd.westeurope-1.ingest.monitor.azure.com", "dcr": DCR}
    read = sentinel.Settings.of({**settings, "stream": STREAM, "tenant": TENANT, "client_id": CLIENT_ID})
    sink = sentinel.Sentinel(read, SECRET, way_to(fake).http())
    sink.send([*records(12), *records(1, first=5)])
    sink.send([checkpoint(12)])
    return fake.rows


def test_splunk_finds_the_leaves_that_the_page_says(in_splunk: list[dict[str, str]]):
    leaves = [(fields["org"], int(fields["leaf_index"])) for fields in in_splunk if "leaf_index" in fields]

    assert gaps_in(leaves) == []
    assert gaps_in([leaf for leaf in leaves if leaf[1] not in LOST]) == shown_after("### Gaps in Splunk")


def test_sentinel_finds_the_leaves_that_the_page_says(in_sentinel: list[dict[str, object]]):
    leaves = [(str(row["Org"]), int(str(row["LeafIndex"]))) for row in in_sentinel if "LeafIndex" in row]

    assert gaps_in(leaves) == []
    assert gaps_in([leaf for leaf in leaves if leaf[1] not in LOST]) == shown_after("### Gaps in Sentinel")


def test_a_checkpoint_tells_of_a_missing_end(in_splunk: list[dict[str, str]], in_sentinel: list[dict[str, object]]):
    assert max(int(fields["log_size"]) for fields in in_splunk if "log_size" in fields) == 12
    assert max(int(str(row["LogSize"])) for row in in_sentinel if "LogSize" in row) == 12


def test_every_name_in_a_search_of_splunk_is_an_indexed_field_or_made_by_the_search(in_splunk: list[dict[str, str]]):
    arrive = {name for fields in in_splunk for name in fields}

    assert len(searches("spl")) == 2
    for search in searches("spl"):
        plain = re.sub(r'index=ai_audit sourcetype="gatehouse:audit"', "", search)
        made = set(re.findall(r"(\w+)=(?!=)", plain)) | set(re.findall(r"\bas (\w+)", plain))
        assert set(re.findall(r"[a-z_]\w*", plain)) <= arrive | made | SPL_WORDS


def test_every_name_in_a_search_of_sentinel_is_a_column_or_made_by_the_search():
    assert len(searches("kql")) == 2
    for search in searches("kql"):
        made = set(re.findall(r"(\w+) = ", search))
        assert set(re.findall(r"\b[A-Z]\w+", search)) <= COLUMNS.keys() | made | {"Gatehouse_CL"}


def test_the_template_declares_the_columns_that_are_sent_and_watches_for_the_gaps_of_the_page():
    declared = {column["name"]: column["type"] for column in TEMPLATE["variables"]["columns"]}
    types = {str: "string", int: "long", object: "dynamic"}
    rules = {resource["type"]: resource for resource in TEMPLATE["resources"]}

    assert declared == {name: types[kind] for name, kind in COLUMNS.items()} | {"TimeGenerated": "datetime"}
    assert list(rules["Microsoft.Insights/dataCollectionRules"]["properties"]["streamDeclarations"]) == [STREAM]
    assert rules["Microsoft.SecurityInsights/alertRules"]["properties"]["query"] == searches("kql")[0].strip()
