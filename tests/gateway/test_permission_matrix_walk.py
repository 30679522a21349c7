"""Every role before every screen, every bulk action and every command of the matrix."""

from http.cookies import SimpleCookie
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import URLPattern

from gateway.management import commands
from tests.gateway.everybody import ROLES, SPECIAL, browser, people, rows
from tests.gateway.signing_in import TOO_LONG, is_asked_again, let_time_pass
from tests.gateway.test_permission_matrix import (
    ACTIONS,
    ASKED_BY_POST,
    ASKS_AGAIN,
    BODIES,
    BUTTONS,
    COMMANDS,
    HERS,
    NOT_BY_FORM,
    ONLY_PREVIEWS,
    WAITING,
    known_screens,
    right_of,
    who,
)

__all__ = ("people", "rows")

pytestmark = pytest.mark.django_db


# Screens

OF_A_REQUEST = {"approval", "approval_live", "withdraw_my_request"}
"""A request is there for those whom its rules name, which no duty says: test_approval_pages.py."""


def filled(pattern: URLPattern, name: str, rows: dict[str, Any]) -> str:
    """The address with ids in it that exist."""
    address = str(pattern.whole_path).replace("^(?P<app_label>governance|audit|gateway)/$", "governance/")  # type: ignore[attr-defined]
    for parameter, converter in pattern.pattern.converters.items():
        value = _value(parameter, name, rows)
        kind = next(kind for kind in ("uuid", "path", "int", "str", "slug") if f"<{kind}:{parameter}>" in address)
        assert converter is not None
        address = address.replace(f"<{kind}:{parameter}>", str(value))
    return "/" + address


def _value(parameter: str, name: str, rows: dict[str, Any]) -> Any:
    if parameter == "object_id":
        return rows[name.split(":")[1].split("_")[1]].pk
    known = {
        "agent_id": "agent",
        "connector_id": "connector",
        "definition_id": "tooldefinition",
        "person_id": "user",
        "hold_id": "legalhold",
        "finding_id": "findinggroup",
        "secret_id": "secret",
        "tool_id": "tool",
        "bundle_id": "bundle",
        "policy_id": "policy",
        "call_id": "eventrow",
        "canary_id": "canary",
        "detector_id": "externaldetector",
        "run_id": "agentsession",
        "search_id": "savedsearch",
        "size": "checkpoint",
        "old_size": "checkpoint",
        "receipt_id": "anchorreceipt",
        "offboarding_id": "offboarding",
        "step_id": "offboardingstep",
        "token_id": "personaltoken",
        "grant_id": "grant",
        "directory_id": "directory",
        "directory_token_id": "directorytoken",
        "directory_user_id": "directoryuser",
        "mapping_id": "groupmapping",
        "key_id": "agentcredential",
        "authorization_id": "authorization",
        "report_id": "report",
        "review_id": "accessreview",
        "item_id": "accessreviewitem",
    }
    if name in OF_A_REQUEST:
        return rows["approvalrequest"].key
    if parameter == "session":
        return rows["mcpsession"].name_in_addresses
    if parameter == "version_id":
        return rows["bundleversion" if name.startswith("bundle_") else "policyversion"].pk
    if parameter in known:
        return rows[known[parameter]].pk
    made_up = {
        "pk": 1,
        "session_id": 1,
        "uidb36": "abc",
        "key": "abc-def",
        "kind": "prompt",
        "sort": "tokens",
        "file": "report.zip",
    }

    if parameter not in made_up:
        pytest.fail(f"The address of {name} has a part <{parameter}>: say in the matrix which row it stands for.")
    return made_up[parameter]


def ask(client: Client, method: str, address: str, **more: Any) -> Any:
    """One request whose effects are undone, also those on the browser's cookies."""
    kept = client.cookies.output(header="", sep=";")
    with transaction.atomic():
        answer = client.generic(method, address, **more)
        if answer.streaming:
            answer.getvalue()
        transaction.set_rollback(True)
    client.cookies = SimpleCookie(kept)
    return answer


def press(client: Client, name: str, address: str) -> Any:
    form = {"content_type": "application/x-www-form-urlencoded", "data": urlencode(BODIES.get(name, {}))}
    return ask(client, "POST", address, **form)


def is_refused(answer: Any) -> bool:
    to = answer["Location"] if answer.status_code == 302 else ""
    return answer.status_code in (401, 403) or to.startswith(("/account/login/", "/admin/login/"))


@pytest.mark.parametrize("role", ROLES)
def test_screens(role: str, rows: dict[str, Any], people: dict[str, Any]) -> None:
    client, wrong = browser(people[role]), []
    for name, pattern in known_screens():
        address, right = filled(pattern, name, rows), right_of(name)
        method = "POST" if name.endswith(ASKED_BY_POST) else "GET"
        if name in WAITING and role in who(right):
            continue
        answer = ask(client, method, address)
        if answer.status_code >= 500 or is_refused(answer) == (role in who(right)):
            wrong.append(f"{name} {method} {address}: {answer.status_code} {answer.headers.get('Location', '')}")
        if role not in who(BUTTONS.get(name, right)) and not is_refused(answer := press(client, name, address)):
            wrong.append(f"{name} POST {address}: {answer.status_code} {answer.headers.get('Location', '')}")
    assert not wrong, f"for {role}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("role", ROLES)
def test_forms_that_one_may_see_are_not_sent_without_the_right(
    role: str, rows: dict[str, Any], people: dict[str, Any]
) -> None:
    client = browser(people[role])
    for name, pattern in known_screens():
        table, _, screen = name.removeprefix("admin:").rpartition("_")
        if not name.startswith("admin:") or screen != "change" or table.count("_") != 1:
            continue
        app, model = table.split("_")
        is_open = "change" not in NOT_BY_FORM.get(table, "").split() and role in who(f"{app}.change_{model}")
        answer = ask(client, "POST", filled(pattern, name, rows))
        assert is_open is not is_refused(answer), f"{name}: {answer.status_code}"


@pytest.mark.parametrize("role", sorted(SPECIAL["signed in"]))
def test_what_is_hers_is_there_for_nobody_else(role: str, rows: dict[str, Any], people: dict[str, Any]) -> None:
    client = browser(people[role])
    hers = [filled(pattern, name, rows) for name, pattern in known_screens() if name in HERS]
    assert len(hers) == len(HERS)
    answers = {ask(client, method, address).status_code for address in hers for method in ("GET", "POST")}
    assert answers <= {404, 405}


def test_dangerous_screens_ask_who_it_is_again(rows: dict[str, Any], people: dict[str, Any]) -> None:
    client = browser(people["owner"])
    let_time_pass(client, TOO_LONG)
    for name, pattern in known_screens():
        method = "POST" if name.endswith(ASKED_BY_POST) else "GET"
        if right_of(name) in ASKS_AGAIN and not name.endswith(ONLY_PREVIEWS):
            assert is_asked_again(ask(client, method, filled(pattern, name, rows))), name


# Bulk actions


@pytest.mark.parametrize("role", ROLES)
def test_actions(role: str, people: dict[str, Any]) -> None:
    if people[role] is None or not people[role].is_active:
        return
    request = RequestFactory().get("/admin/")
    request.user = people[role]
    offered = {
        f"{model._meta.app_label}_{model._meta.model_name}.{action}"
        for model, screen in admin.site._registry.items()
        for action in screen.get_actions(request)
    }
    unknown = sorted(action for action in offered if action not in ACTIONS and not action.endswith(".delete_selected"))
    assert not unknown, f"Add these actions to ACTIONS in the matrix: {unknown}"
    wanted = {action for action, right in ACTIONS.items() if role in who(right)}
    assert {action for action in offered if not action.endswith(".delete_selected")} == wanted


# Commands


def with_actor() -> set[str]:
    names = [module.name for module in iter_modules(commands.__path__)]
    made = {name: import_module(f"{commands.__name__}.{name}").Command() for name in names}
    return {name for name, command in made.items() if _takes_actor(name, command)}


def _takes_actor(name: str, command: BaseCommand) -> bool:
    return "--actor" in command.create_parser("manage.py", name)._option_string_actions


def test_every_command_with_an_actor_is_in_the_matrix() -> None:
    assert with_actor() == COMMANDS.keys(), "Add the command to COMMANDS in the matrix."


@pytest.mark.parametrize("role", [role for role in ROLES if role != "anonymous"])
def test_commands(role: str, people: dict[str, Any], rows: dict[str, Any]) -> None:
    for name, (right, words) in COMMANDS.items():
        code = _exit_code(name, *words, "--actor", people[role].email)
        assert (code == 3) == (role not in who(right) and role != "inactive"), f"{name} for {role}: exit {code}"
        assert role != "inactive" or code == 1


def _exit_code(*words: str) -> int:
    with transaction.atomic():
        try:
            call_command(*words)
        except CommandError as error:
            return int(error.returncode)
        except SystemExit as ended:
            return int(ended.code or 0)
        finally:
            transaction.set_rollback(True)
    return 0
