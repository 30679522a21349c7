"""The API's description of itself: valid, complete, in step with the file in docs/, and shown on a page."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

from gateway.api.urls import RESOURCES
from governance.personal_tokens import SCOPES, scopes_allow

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"
METHODS = ("get", "post", "patch", "delete")


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As `manage.py spectacular` writes it; a warning is a failure."""
    target = tmp_path_factory.mktemp("schema") / "openapi.yaml"
    call_command("spectacular", file=str(target), validate=True, fail_on_warn=True)
    return target.read_text()


def operations(text: str) -> dict[str, dict[str, Any]]:
    paths = yaml.safe_load(text)["paths"]
    return {
        f"{method.upper()} {path}": operation
        for path, item in paths.items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_the_file_in_docs_is_what_the_code_says(described: str) -> None:
    """Else: `python manage.py spectacular --file docs/openapi.yaml`."""
    assert FILE.read_text() == described


def test_it_is_openapi_3_1_and_names_every_resource(described: str) -> None:
    told = yaml.safe_load(described)

    assert told["openapi"].startswith("3.1")
    assert {f"/api/v1/{path}".split("<")[0] for path in RESOURCES} <= {path.split("{")[0] for path in told["paths"]}


def test_every_write_takes_a_key_and_every_change_a_tag(described: str) -> None:
    for name, operation in operations(described).items():
        headers = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "header"}
        method, _, path = name.partition(" ")
        writes = method != "GET" and not path.endswith(("/explain", "/preview", "/try"))
        assert ("Idempotency-Key" in headers) == writes, name
        assert ("If-Match" in headers) == (method in ("PATCH", "DELETE")), name


def test_every_operation_tells_its_errors(described: str) -> None:
    for name, operation in operations(described).items():
        assert {"400", "401", "403", "404", "429"} <= operation["responses"].keys(), name


def test_every_permission_that_the_api_asks_for_is_in_some_scope() -> None:
    for name, resource in RESOURCES.items():
        view = resource()
        for action in ("list", "retrieve", "create", "partial_update", "destroy", *_acts(resource)):
            view.action = action
            if hasattr(resource, action):
                assert any(scopes_allow([scope], view.permission) for scope in SCOPES), (name, action)


def _acts(resource: Any) -> list[str]:
    return [act.__name__ for act in resource.get_extra_actions()]


def test_the_pages_need_no_code_written_into_them() -> None:
    page = Client().get("/api/v1/docs/")

    assert page.status_code == 200
    assert "script-src" not in page["Content-Security-Policy"]
    assert b"<script>" not in page.content
    assert Client().get("/api/v1/schema/").json()["openapi"].startswith("3.1")
