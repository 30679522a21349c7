"""The API against its own description: generated requests, right and wrong, and every check schemathesis has."""

import threading
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
import schemathesis
from django.core.cache import cache
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events

from audit.event import AuditEvent
from audit.models import FindingGroup
from audit.record import record
from gateway.api import throttling
from gateway.models import GatewayProcess
from governance import models
from governance.agent_keys import key_digest
from governance.bundles import publish_bundle
from governance.canaries import plant
from governance.fence.actor import governed_change
from governance.policies import publish_policy
from tests.fresh_database import fresh_database
from tests.gateway.calling import Api, person

__all__ = ("fresh_database",)

NOT_HERS = ("people", "personal-tokens")
"""Whoever ends herself or her token learns no more."""
INVENTED_CURSOR = "cursor: Take it from `next`"
"""A cursor is a text to the schema, but not one that anybody can make up."""
REFUSED_BY_A_RULE = ("412", "422")
"""What no schema can tell beforehand: the state of the rows, and rules of the house."""


def one_of_each() -> dict[str, Any]:
    """Path parameter or first path segment -> the id of a row that is there."""
    ana = models.User.objects.create_user("ana@example.com")
    agent = models.Agent.objects.create(name="triage-bot", owner=ana)
    key = models.AgentCredential.objects.create(agent=agent, digest=key_digest("k"), hint="gate_ak_", created_by="x")
    connector = models.Connector.objects.create(name="helpdesk", urls=["https://helpdesk.example.com/mcp"])
    tool = models.Tool.objects.create(connector=connector, name="ticket_get")
    body = orjson.dumps({"name": "ticket_get"})
    definition = models.ToolDefinition.objects.create(tool=tool, digest="d" * 64, body=body)
    policy, bundle = models.Policy.objects.create(name="strict"), models.Bundle.objects.create(name="support")
    told = {"by": "test", "record": lambda fact: None}
    publish_policy(policy, rules=[models.Rule(effect="deny", condition="args.amount > 1")], **told)
    given = [models.BundleTool(connector=connector)]
    publish_bundle(bundle, tools=given, parents=(), policies=(policy,), names="", recording="full", **told)
    event = AuditEvent(kind="call.refused", at=datetime.now(UTC), actor="agent:triage-bot", agent="triage-bot")
    record(event)
    now = datetime.now(UTC)
    rows = {
        "people": ana,
        "personal-tokens": Api(ana).row,
        "teams": models.Team.objects.create(name="support"),
        "agents": agent,
        "agent_id": agent,
        "credentials": key,
        "roles": models.Role.objects.create(name="support-agent"),
        "bundles": bundle,
        "bundle_id": bundle,
        "policies": policy,
        "policy_id": policy,
        "connectors": connector,
        "tools": tool,
        "tool_id": tool,
        "definitions": definition,
        "secrets": models.Secret.objects.create(name="token"),
        "limits": models.RateLimit.objects.create(name="not-too-many", max_requests=600),
        "data-classes": models.DataClass.objects.create(name="patients", words=["patient"]),
        "findings": FindingGroup.objects.create(id=event.id, rule="email", kind="personal", first_at=now, last_at=now),
        "exceptions": models.PatternException.objects.create(
            name="vendor-cards",
            rule="card_number",
            path="/*",
            bundle=bundle,
            reason="Test cards.",
            created_at=now,
            ends_at=now + timedelta(days=1),
        ),
        "switched-off-rules": models.DetectionOff.objects.create(rule="email", reason="x", set_by="test", set_at=now),
        "canaries": _canary(now),
        "detectors": models.ExternalDetector.objects.create(
            name="presidio", kind="presidio", settings={"url": "http://127.0.0.1:9"}, is_enabled=False
        ),
        "freezes": models.Freeze.objects.create(created_by="test"),
        "retention-classes": models.RetentionClass.objects.create(name="short", payload_days=30),
        "legal-holds": models.LegalHold.objects.create(person=ana, reason="Case 7", set_by="test", set_at=now),
        "sinks": models.Sink.objects.create(name="soc", kind="webhook", settings={"url": "https://soc.example.com"}),
        "processes": GatewayProcess.objects.create(host="h", pid=1, started_at=now, beat_at=now),
    }
    rows |= {
        "finding_id": rows["findings"],
        "secret_id": rows["secrets"],
        "sink_id": rows["sinks"],
        "role_id": rows["roles"],
    }
    models.Organization.objects.get_or_create(is_only=True)
    return {name: str(row.pk) for name, row in rows.items()} | dict.fromkeys(("events", "call_id"), str(event.id))


def _canary(now: datetime) -> models.Canary:
    row = models.Canary(name="hr-share", kind="aws_key")
    plant(row, by="test", record=lambda fact: None, now=now)
    return row


@pytest.fixture
def caller(fresh_database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    cache.clear()
    monkeypatch.setattr(throttling, "REQUESTS_PER_TOKEN", 10**9)
    monkeypatch.setattr(throttling, "FAILURES_PER_ADDRESS", 10**9)
    monkeypatch.setattr("gateway.tasks.discover_connector.delay", lambda *_: None)
    with governed_change(by="test"):
        api = Api(person("owner@example.com", owner=True))
        api.ids = one_of_each()  # type: ignore[attr-defined]
    server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler, connections_override={})
    server.set_app(get_wsgi_application())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield api
    server.shutdown()
    server.server_close()


NEGATIVE = ("400", "401", "403", "404", "405", "406", "409", "413", "415", "428", "429")
POSITIVE = ("2xx", "3xx", "401", "403", "404", "409", "429", "5xx")


def explored(caller: Api, *, examples: int, phases: Collection[str]) -> Iterator[str]:
    """What schemathesis finds wrong: examples, boundary cases, fuzzing, and calls that build on each other."""
    config = SchemathesisConfig.from_dict(
        {
            "headers": {"Authorization": f"Bearer {caller.token}"},
            "workers": 1,
            "seed": 1,
            "generation": {"max-examples": examples, "database": "none"},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": [*POSITIVE, *REFUSED_BY_A_RULE]},
                "negative_data_rejection": {"expected-statuses": [*NEGATIVE, *REFUSED_BY_A_RULE]},
            },
            "phases": {name: {"enabled": name in phases} for name in ("examples", "coverage", "fuzzing", "stateful")},
        }
    )
    api = schemathesis.openapi.from_url(f"{caller.url}/api/v1/schema/", config=config)  # type: ignore[attr-defined]
    api.hook(known_ids(caller))
    for event in engine.from_schema(api).execute():
        if isinstance(event, events.ScenarioFinished):
            yield from _failures(event)
        elif isinstance(event, events.NonFatalError):
            yield f"{event.label}: {event.value!r}"
        elif isinstance(event, events.FatalError):
            raise event.exception


def _failures(event: events.ScenarioFinished) -> Iterator[str]:
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                case = event.recorder.cases[case_id].value
                answer = event.recorder.interactions[case_id].response
                told = answer.text[:300] if answer else ""
                if INVENTED_CURSOR in told:
                    continue
                wrong = check.failure_info.failure
                title = f"{event.label} [{check.name}] {wrong.title}: {wrong.message[:300]}"
                yield f"{title}\n  {case.as_curl_command()[:600]}\n  {told}"


def known_ids(caller: Api) -> Callable[..., Any]:
    """Half of the generated ids become those of rows that are there."""

    def map_path_parameters(context: Any, values: dict[str, Any] | None) -> dict[str, Any] | None:
        segments = context.operation.path.removeprefix("/api/v1/").split("/")
        for name, value in (values or {}).items():
            place = segments[segments.index("{id}") - 1] if name == "id" else name
            if place in caller.ids and (place in NOT_HERS or _is_even(value)):  # type: ignore[attr-defined]
                values[name] = caller.ids[place]  # type: ignore[index, attr-defined]
        return values

    return map_path_parameters


def _is_even(value: Any) -> bool:
    try:
        return UUID(str(value)).int % 2 == 0
    except ValueError:
        return False


@pytest.mark.timeout(400)
def test_the_api_is_what_it_says(caller: Api) -> None:
    found = list(explored(caller, examples=2, phases=("fuzzing",)))

    assert not found, "\n\n".join(found[:20])


@pytest.mark.soak
@pytest.mark.timeout(6 * 3600)
def test_the_api_is_what_it_says_for_long(caller: Api) -> None:
    found = list(explored(caller, examples=300, phases=("examples", "coverage", "fuzzing", "stateful")))

    assert not found, "\n\n".join(found[:20])
