"""One table of all methods: complete against the specification's own types, and true of what the endpoint answers."""

import re
from pathlib import Path
from typing import Any

import pytest
from mcp_types import methods as specified

from gateway.mcp.methods import EVERY, FROM_CLIENT, TO_CLIENT, Method, Serving, find, table
from gateway.mcp.own import ANSWERS
from gateway.mcp.revisions import LEGACY, MODERN
from gateway.mcp.task_methods import METHODS as TASKS
from tests.gateway.mcp_surface import McpPorts, Surface, world

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "methods.md"
MANY = 40
METHOD_NOT_FOUND = -32601
EXTENSION = {"tasks/get", "tasks/cancel", "tasks/update", "notifications/tasks"}
"""Of the tasks extension, which is no part of the core types."""
EMBEDDED = {"elicitation/create", "sampling/createMessage", "roots/list"}
"""Since 2026-07-28 these are no requests of their own but parts of an answer that asks for input."""
LEGACY_TASKS = {"tasks/get", "tasks/cancel", "tasks/result", "tasks/list", "notifications/tasks/status"}
"""Experimental in 2025-11-25; the core types leave them out."""
OURS_ONLY = EXTENSION | EMBEDDED | LEGACY_TASKS


def names(methods: tuple[Method, ...], revision: str) -> set[str]:
    return {method.name for method in methods if revision in method.revisions}


def specified_names(revision: str, *tables: Any) -> set[str]:
    return {name for each in tables for name, version in each if version == revision}


def test_the_document_shows_this_table() -> None:
    assert DOCUMENT.read_text().endswith(table())


def test_the_document_names_tests_that_exist() -> None:
    named = re.findall(r"`([a-z_]+/test_[a-z_0-9]+\.py)`: ((?:`test_[a-z_0-9]+`(?:, )?)+)", DOCUMENT.read_text())
    assert len(named) > MANY
    for file, tests in named:
        source = (TESTS / file).read_text()
        missing = [test for test in re.findall(r"`(test_[a-z_0-9]+)`", tests) if f"def {test}(" not in source]
        assert missing == [], file


@pytest.mark.parametrize("revision", EVERY)
def test_what_clients_may_send_is_all_there(revision: str) -> None:
    known = specified_names(revision, specified.CLIENT_REQUESTS, specified.CLIENT_NOTIFICATIONS)
    assert known <= names(FROM_CLIENT, revision)
    assert names(FROM_CLIENT, revision) - known <= OURS_ONLY


@pytest.mark.parametrize("revision", EVERY)
def test_what_servers_may_send_is_all_there(revision: str) -> None:
    known = specified_names(revision, specified.SERVER_REQUESTS, specified.SERVER_NOTIFICATIONS)
    assert known <= names(TO_CLIENT, revision)
    assert names(TO_CLIENT, revision) - known <= OURS_ONLY


def test_each_is_served_by_something() -> None:
    own = {method.name for method in FROM_CLIENT if method.serving is Serving.OWN}
    assert own - {"resources/unsubscribe"} == set(ANSWERS)
    assert {method.name for method in FROM_CLIENT if method.serving is Serving.TASK} == set(TASKS)


@pytest.mark.parametrize("revision", LEGACY)
@pytest.mark.parametrize("method", sorted({method.name for method in FROM_CLIENT} | {"tools/destroy", "", "x" * 500}))
async def test_a_legacy_method_is_known_exactly_where_the_table_says(method: str, revision: str) -> None:
    reply = await Surface(McpPorts(world())).ask(method, version=revision)
    is_unknown = "error" in reply.message and reply.code == METHOD_NOT_FOUND
    assert reply.status != 500
    assert is_unknown == (find(method, revision) is None)
    if is_unknown:
        assert (reply.status, reply.message["id"]) == (200, 1)


@pytest.mark.parametrize(
    "method", sorted({method.name for method in FROM_CLIENT} - {"subscriptions/listen"} | {"tools/destroy", ""})
)
async def test_a_modern_method_is_known_exactly_where_the_table_says(method: str) -> None:
    params = {"name": "n", "uri": "test://u", "taskId": "t"}
    found = find(method, MODERN)
    sent = {found.named_by: params[found.named_by]} if found is not None and found.named_by else {}
    reply = await Surface(McpPorts(world())).ask_modern(method, sent)
    is_unknown = "error" in reply.message and reply.code == METHOD_NOT_FOUND
    assert reply.status != 500
    assert is_unknown == (found is None)
    if is_unknown:
        assert (reply.status, reply.message["id"]) == (404, 1)
